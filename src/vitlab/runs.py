"""A run folder as an object: it says what ran, on what, and how it ended, from the first second to the last."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning.utilities import rank_zero_only

Status = Literal["running", "completed", "failed", "interrupted"]

RECORDED_PACKAGES = ("vitlab", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pillow")


class Run:
    """A folder with `run.json`, written anew as a whole at each change, so that a reader never finds half of one."""

    def __init__(self, folder: Path, record: dict[str, Any]):
        self.folder = folder
        self.record = record
        self.started_at = time.monotonic()

    @classmethod
    def start(cls, folder: Path, config: dict[str, Any]) -> "Run":
        """Begins the record of a run in `folder`. Raises ValueError where the folder already holds a run."""
        if rank_zero_only.rank == 0 and (folder / "run.json").exists():
            raise ValueError(f"{folder} already holds a run; wait a second, or give another folder with hydra.run.dir=DIR")
        run = cls(
            folder,
            {
                "status": "running",
                "command": " ".join(sys.argv),
                "seed": config["seed"],
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "process": os.getpid(),
                "python": platform.python_version(),
                "packages": {name: metadata.version(name) for name in RECORDED_PACKAGES},
                "hardware": hardware(),
                "git": git_state(),
                "config": config,
            },
        )
        run.write()
        return run

    def update(self, **facts: Any) -> None:
        self.record |= facts
        self.write()

    def end(self, status: Status, reason: str | None = None) -> None:
        """Says how the run ended; `reason` is one line for a run that did not complete."""
        self.update(
            status=status,
            reason=reason,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.started_at, 1),
        )

    def write(self) -> None:
        """Replaces run.json; of several processes only the first writes."""
        if rank_zero_only.rank != 0:
            return
        part = self.folder / f".run.json.{os.getpid()}"
        with part.open("w") as file:
            json.dump(self.record, file, indent=2, allow_nan=True)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / "run.json")


def hardware() -> dict[str, Any]:
    """Returns the processor, threads and accelerators of this machine."""
    return {
        "machine": platform.machine(),
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def git_state() -> dict[str, Any] | None:
    """Returns commit and uncommitted diff of the code that runs, or None where it is no git checkout (an installed package)."""
    source = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=source, capture_output=True, text=True, check=True, timeout=20).stdout

    try:
        git("ls-files", "--error-unmatch", __file__)
        return {"commit": git("rev-parse", "HEAD").strip(), "diff": git("diff", "HEAD")}
    except (OSError, subprocess.SubprocessError):
        return None


@contextmanager
def recorded(run: Run) -> Iterator[Run]:
    """Writes into the record how the block ended, whatever way that is."""
    try:
        yield run
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning turns Ctrl-C into SystemExit(1), and SIGTERM into a SystemExit of its own without a status
        signal_name = "SIGTERM" if "SIGTERM" in type(error).__name__ else "SIGINT"
        run.end("interrupted", f"{signal_name} after {time.monotonic() - run.started_at:.0f} s")
        raise SystemExit({"SIGINT": 130, "SIGTERM": 143}[signal_name]) from None
    except BaseException as error:
        run.end("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
        run.update(traceback=traceback.format_exc().splitlines())
        raise
    run.end("completed")


def discard_unstarted(folder: Path) -> None:
    """Removes a folder in which Hydra left its files but no run began."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {".hydra", *(path.name for path in folder.glob("*.log"))}:
        shutil.rmtree(folder)
