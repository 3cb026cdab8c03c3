"""The files that loggers append to in a run's folder: measured for a checkpoint, compared with it, cut back
to it."""

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitlab.runs.history import FILE as HISTORY_FILE

HISTORY_HASH = f"{HISTORY_FILE} blake2b"


def log_files(folder: Path) -> list[Path]:
    """Returns the files in a run folder that loggers append to."""
    return sorted(
        file for pattern in ("events.out.tfevents.*", HISTORY_FILE) for file in folder.glob(pattern)
    )


def log_sizes(folder: Path) -> dict[str, int]:
    """Returns the size in bytes of each of a run's log files, by name."""
    return {file.name: file.stat().st_size for file in log_files(folder)}


def log_state(folder: Path) -> dict[str, Any]:
    """Returns what a checkpoint keeps of a run's log files: their sizes, and the hash of its history, which
    no other run shares."""
    file = folder / HISTORY_FILE
    if not file.is_file():
        return log_sizes(folder)
    with file.open("rb") as content:
        os.fsync(content.fileno())  # else the checkpoint could be on the disk before what it tells of
    return log_sizes(folder) | {HISTORY_HASH: _hash(file, file.stat().st_size)}


def _hash(file: Path, size: int) -> str:
    with file.open("rb") as content:
        return hashlib.blake2b(content.read(size), digest_size=16).hexdigest()


def check_logs(folder: Path, state: Mapping[str, Any]) -> list[str]:
    """Returns a line for each log file that lacks something that it held at an earlier `log_state`.

    Raises ValueError where that part of the history has changed.
    """
    lines = []
    for name, size in state.items():
        file = folder / name
        if name == HISTORY_HASH:
            continue
        if not file.is_file():
            lines.append(f"{name} is gone")
        elif file.stat().st_size < size:
            lines.append(f"{name} has {file.stat().st_size:,} bytes, and had {size:,}")
    file = folder / HISTORY_FILE
    if file.is_file() and HISTORY_FILE in state:
        known = state[HISTORY_HASH]
        if file.stat().st_size < state[HISTORY_FILE] or known != _hash(file, state[HISTORY_FILE]):
            raise ValueError(
                f"{file} no longer begins with the {state[HISTORY_FILE]:,} bytes that the checkpoint knows:"
                " it was cut or changed, or is another run's; a copy of it would work, or removing it: the"
                " run then goes on without what it told"
            )
    return lines


def cut_logs(folder: Path, sizes: Mapping[str, int]) -> None:
    """Cuts log files back to earlier `log_sizes`: a killed run logs again what came after its checkpoint.

    Waits for the next second where a file is of the present one: TensorBoard reads files in the order of the
    seconds in their names.
    """
    for file in log_files(folder):
        if file.name not in sizes:
            file.unlink()
        elif file.stat().st_size > sizes[file.name]:
            os.truncate(file, sizes[file.name])
    newest = max(
        (int(file.name.split(".")[3]) for file in log_files(folder) if file.name != HISTORY_FILE), default=0
    )
    time.sleep(max(0.0, min(newest + 1 - time.time(), 1.0)))
