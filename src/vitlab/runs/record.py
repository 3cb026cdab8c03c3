"""A run folder as an object: it says what ran, on what, and how it ended, at any time."""

import json
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from pytorch_lightning.utilities import rank_zero_only

from vitlab.files import lock
from vitlab.files.atomic import remove_parts, replace_text
from vitlab.runs.status import HEARTBEAT_SECONDS, last_sign, load_record, this_process, wall_seconds
from vitlab.runs.surroundings import differences, surroundings

log = logging.getLogger(__name__)

Status = Literal["running", "completed", "failed", "interrupted"]

LOCK = ".lock"

NO_RUN_YET = re.compile(
    r"\.hydra|\.lock|(train|check|test|predict|inspect|export|reproduce|compose)(_ddp_process_\d+)?\.log"
)
"""What there is in a folder before a run's own record."""


class Interrupted(SystemExit):
    """A signal asked the process to end. The exit status is the usual one: 128 and the signal's number."""

    def __init__(self, number: signal.Signals, how: str):
        super().__init__(128 + number)
        self.reason = f"{number.name}, {how}"


class Run:
    """A folder with `run.json`, replaced as a whole at each change: no reader finds half of one."""

    def __init__(self, folder: Path, record: dict[str, Any]):
        self.folder = folder
        self.record = record
        self.started_at = self.part_began_at = time.monotonic()
        self.seconds_before: float = record.get("seconds", 0.0)  # of earlier starts

    @classmethod
    def start(
        cls, folder: Path, config: dict[str, Any], overrides: Sequence[str] = (), **asked: Any
    ) -> "Run":
        """Begins the record of a run in `folder`; `asked` are further facts about the request, such as its
        overrides. Raises ValueError where the folder already holds a run."""
        if rank_zero_only.rank == 0 and (folder / "run.json").exists():
            raise ValueError(
                f"{folder} already holds a run; to go on with it: resume=auto; or give another folder with"
                " hydra.run.dir=DIR"
            )
        run = cls(
            folder,
            {
                "status": "running",
                "command": shlex.join(sys.argv),
                "directory": str(Path.cwd()),
                "overrides": list(overrides),
                **asked,
                "seed": config["seed"],
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                **this_process(),
                **surroundings(),
                "config": config,
            },
        )
        run.write()
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Returns the run that a folder holds. Raises ValueError where it holds none."""
        record = load_record(folder)
        if "config" not in record:
            raise ValueError(f"{folder / 'run.json'} cannot be read: it is no run's record")
        return cls(folder, record | {"seconds": round(wall_seconds(record, last_sign(folder)), 1)})

    def resume(self, step: int, config: dict[str, Any], lost: Sequence[str] = ()) -> None:
        """Takes up the record at an optimizer step, with its config in this folder. Warns where code,
        packages or machine changed. `lost` says which parts of the run's logs are gone."""
        here = surroundings()
        here.pop("numerics")  # the trainer is still to set them
        changed = differences({name: self.record.get(name) for name in here}, here)
        if changed:
            log.warning(
                "the run began with other code, packages or hardware, so its end may differ: %s",
                "; ".join(changed),
            )
        if rank_zero_only.rank == 0:
            remove_parts(self.folder)
        now = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "step": step,
            "process": os.getpid(),
            "changed": changed,
        }
        # where it was until now
        now |= {"run_dir": self.record["config"].get("run_dir")} | ({"lost": list(lost)} if lost else {})
        self.update(
            status="running",
            reason=None,
            config=config,
            resumes=[*self.record.get("resumes", []), now],
            **this_process(),
        )

    def update(self, **facts: Any) -> None:
        self.record |= facts
        self.write()

    def end(self, status: Status, reason: str | None = None) -> None:
        """Says how the run ended. `reason` is one line for a run that did not complete."""
        self.update(
            status=status,
            reason=reason,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(self.seconds_before + time.monotonic() - self.started_at, 1),
        )

    def took(self, part: str) -> None:
        """Counts the time since the last such call, or the start, as that part's, for the next update."""
        now = time.monotonic()
        durations = self.record.setdefault("durations", {})
        durations[part] = round(durations.get(part, 0.0) + now - self.part_began_at, 2)
        self.part_began_at = now

    def write(self) -> None:
        """Replaces run.json, on the first process. Raises NotWritten where the disk is full or refuses."""
        if rank_zero_only.rank != 0:
            return
        replace_text(self.folder / "run.json", json.dumps(self.record, indent=2))


def moved(node: Any, old: str, new: str) -> Any:
    """Returns plain data with every path into the folder `old` led into `new`."""
    if isinstance(node, dict):
        return {moved(key, old, new): moved(value, old, new) for key, value in node.items()}
    if isinstance(node, list):
        return [moved(value, old, new) for value in node]
    return (
        new + node[len(old) :]
        if isinstance(node, str) and (node == old or node.startswith(old + "/"))
        else node
    )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other processes from working on the run in `folder`; the system lets go when this one dies.
    Raises ValueError if another works on it. Only the first of several processes of one run holds it."""
    if rank_zero_only.rank != 0:
        yield
        return
    work = f"the run in {folder}; wait for its end, or give another folder"
    with lock.held(folder / LOCK, work):
        yield


def ending_signals() -> list[signal.Signals]:
    """Returns the signals that ask a run to end besides Ctrl-C: SIGTERM, and in a SLURM job SIGUSR1."""
    return [signal.SIGTERM] + [signal.SIGUSR1] * ("SLURM_JOB_ID" in os.environ)


def _leave(number: int, frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number), "at once")


def status_after(error: BaseException) -> Literal["failed", "interrupted"]:
    """Returns how a run ended that this error ended. Lightning makes SystemExit(1) of Ctrl-C, and of SIGTERM
    with several processes one without a status; any other status is somebody's own sys.exit in a run."""
    is_own_exit = type(error) is SystemExit and error.code != 1
    return (
        "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) and not is_own_exit else "failed"
    )


def _beat(file: Path, ended: threading.Event) -> None:
    """Has a record tell by its time, from now until the event, that its run is still there."""
    while rank_zero_only.rank == 0 and not ended.wait(HEARTBEAT_SECONDS):
        with suppress(OSError):
            os.utime(file)


@contextmanager
def recorded(run: Run) -> Iterator[Run]:
    """Writes into the record how the block ended, but for SIGKILL; `ending_signals` act like Ctrl-C."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    ended = threading.Event()
    threading.Thread(target=_beat, args=(run.folder / "run.json", ended), daemon=True).start()
    handlers = {each: signal.signal(each, _leave) for each in ending_signals()} if in_main_thread else {}
    try:
        yield run
    except (KeyboardInterrupt, SystemExit) as error:
        if status_after(error) == "failed":
            run.end("failed", f"SystemExit: {getattr(error, 'code', None)}")
            run.update(traceback=traceback.format_exc().splitlines())
            raise
        if not isinstance(error, Interrupted):
            error = Interrupted(
                signal.SIGTERM if "SIGTERM" in type(error).__name__ else signal.SIGINT, "at once"
            )
        run.end("interrupted", f"{error.reason}, after {time.monotonic() - run.started_at:.0f} s")
        raise error from None
    except BaseException as error:
        with suppress(OSError):  # a full disk: what went wrong first is what counts
            run.end("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
            run.update(traceback=traceback.format_exc().splitlines())
        raise
    finally:
        ended.set()
        for each, handler in handlers.items():
            signal.signal(each, handler)
    run.end("completed")


def discard_unstarted(folder: Path) -> None:
    """Removes a folder in which Hydra left its files but no run began."""
    if folder.is_dir() and all(NO_RUN_YET.fullmatch(path.name) for path in folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)  # another process may want to begin there
