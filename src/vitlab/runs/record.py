"""A run folder as an object: it says what ran, on what, and how it ended, from the first second to the last."""

import json
import logging
import os
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

from vitlab.checkpoint.sealed import sweep_parts
from vitlab.runs.status import this_process
from vitlab.runs.surroundings import differences, hardware, packages, surroundings

log = logging.getLogger(__name__)

Status = Literal["running", "completed", "failed", "interrupted"]


class Interrupted(SystemExit):
    """A signal asked the process to end; the exit status is the usual one, 128 and the signal's number."""

    def __init__(self, number: signal.Signals, how: str):
        super().__init__(128 + number)
        self.reason = f"{number.name}, {how}"


class Run:
    """A folder with `run.json`, written anew as a whole at each change, so that a reader never finds half of one."""

    def __init__(self, folder: Path, record: dict[str, Any]):
        self.folder = folder
        self.record = record
        self.started_at = self.part_began_at = time.monotonic()
        self.seconds_before: float = record.get("seconds", 0.0)  # of an earlier start that could still say so

    @classmethod
    def start(cls, folder: Path, config: dict[str, Any], overrides: Sequence[str] = (), **asked: Any) -> "Run":
        """Begins the record of a run in `folder`; `asked` are more facts of how it was asked for.

        Raises ValueError where the folder already holds a run.
        """
        if rank_zero_only.rank == 0 and (folder / "run.json").exists():
            raise ValueError(f"{folder} already holds a run; to go on with it: resume=auto; or give another folder with hydra.run.dir=DIR")
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
        file = folder / "run.json"
        try:
            record = json.loads(file.read_text())
            if not isinstance(record, dict) or "config" not in record:
                raise ValueError("it is no run's record")
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from None
        return cls(folder, record)

    def resume(self, step: int) -> None:
        """Takes up the record again, at an optimizer step; warns where what ran before is not what runs now."""
        for name, now in (("packages", packages()), ("hardware", hardware())):
            before = self.record[name]
            if changed := differences(before, now):
                log.warning("the run began with other %s, so its end may differ in the last bits: %s", name, "; ".join(changed))
        if rank_zero_only.rank == 0:
            sweep_parts(self.folder)
        now = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "step": step, "process": os.getpid()}
        self.update(status="running", reason=None, resumes=[*self.record.get("resumes", []), now], **this_process())

    def update(self, **facts: Any) -> None:
        self.record |= facts
        self.write()

    def end(self, status: Status, reason: str | None = None) -> None:
        """Says how the run ended; `reason` is one line for a run that did not complete."""
        self.update(
            status=status,
            reason=reason,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(self.seconds_before + time.monotonic() - self.started_at, 1),
        )

    def took(self, part: str) -> None:
        """Counts the time since the last such call, or since the start, as that part's; written with the next update."""
        now = time.monotonic()
        durations = self.record.setdefault("durations", {})
        durations[part] = round(durations.get(part, 0.0) + now - self.part_began_at, 2)
        self.part_began_at = now

    def write(self) -> None:
        """Replaces run.json; of several processes only the first writes."""
        if rank_zero_only.rank != 0:
            return
        part = self.folder / f".run.json.tmp-{os.getpid()}"
        with part.open("w") as file:
            json.dump(self.record, file, indent=2, allow_nan=True)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / "run.json")


def _leave(number: int, frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number), "at once")


@contextmanager
def recorded(run: Run) -> Iterator[Run]:
    """Writes into the record how the block ended, whatever way that is but SIGKILL; SIGTERM ends it as Ctrl-C does."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGTERM, _leave) if in_main_thread else None
    try:
        yield run
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning turns Ctrl-C into SystemExit(1), and SIGTERM with several processes into a SystemExit of its own without a status
        if type(error) is SystemExit and error.code != 1:  # somebody's own sys.exit, in the middle of a run
            run.end("failed", f"SystemExit: {error.code}")
            run.update(traceback=traceback.format_exc().splitlines())
            raise
        if not isinstance(error, Interrupted):
            error = Interrupted(signal.SIGTERM if "SIGTERM" in type(error).__name__ else signal.SIGINT, "at once")
        run.end("interrupted", f"{error.reason}, after {time.monotonic() - run.started_at:.0f} s")
        raise error from None
    except BaseException as error:
        with suppress(OSError):  # a full disk: what went wrong first is what counts
            run.end("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
            run.update(traceback=traceback.format_exc().splitlines())
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)
    run.end("completed")


def discard_unstarted(folder: Path) -> None:
    """Removes a folder in which Hydra left its files but no run began."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {".hydra", *(path.name for path in folder.glob("*.log"))}:
        shutil.rmtree(folder)
