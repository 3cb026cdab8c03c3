"""The status of the run in a folder, from its record alone, and so quickly, without torch."""

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vitlab.slurm import is_queued, this_job


def _began(process: int) -> str | None:
    """Returns a name for the moment when a process here began; None without one, or without /proc."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if state in "ZX" else f"{boot} {fields[18]}"  # a zombie is dead, only not buried


HEARTBEAT_SECONDS = 60
"""So often a run says that it is still there, by the time of its record."""

SILENT_SECONDS = 10 * HEARTBEAT_SECONDS
"""A run elsewhere, silent for so long and unknown to SLURM, is dead; clocks may differ by minutes."""


def this_process() -> dict[str, Any]:
    """Returns what tells this process from any other, also of the same number or elsewhere."""
    return {
        "process": os.getpid(),
        "host": platform.node(),
        "process_began": _began(os.getpid()),
        "slurm": this_job(),
        "heartbeat_seconds": HEARTBEAT_SECONDS,
    }


def is_number(value: Any) -> bool:
    """Tells whether a value from a stranger's file is a number that a float can hold."""
    return type(value) is float or (type(value) is int and abs(value) < 1 << 1000)


def _is_data(value: Any) -> bool:
    splits = value.get("splits") if isinstance(value, dict) else None
    return (
        isinstance(splits, dict)
        and isinstance(value.get("fingerprint"), str)
        and all(
            isinstance(split, dict) and type(split.get("images")) is int and "fingerprint" in split
            for split in splits.values()
        )
    )


def _list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(entry, kind) for entry in value)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value).astimezone(UTC))
    except (ValueError, OverflowError):
        return False


KINDS: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: (
        value in ("running", "completed", "failed", "interrupted") and isinstance(value, str)
    ),
    "config": lambda value: isinstance(value, dict),
    "overrides": _list_of(str),
    "resumes": _list_of(dict),
    "choices": lambda value: isinstance(value, dict),
    "hashes": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "hardware": lambda value: (
        isinstance(value, dict)
        and {"gpus", "processor", "cores"} <= value.keys()
        and _list_of(str)(value["gpus"])
    ),
    "packages": lambda value: isinstance(value, dict),
    "git": lambda value: value is None or (isinstance(value, dict) and {"commit", "diff"} <= value.keys()),
    "durations": lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
    "metrics": lambda value: isinstance(value, dict) and all(map(is_number, value.values())),
    "seconds": lambda value: is_number(value) and 0 <= value < 1e12,
    "slurm": lambda value: (
        value is None or (isinstance(value, dict) and "job" in value and all(map(_is_text, value.values())))
    ),
    "data": _is_data,
    "started": _is_time,
    **dict.fromkeys(
        ("reason", "ended", "command", "directory", "host", "process_began", "data_hashed", "python"),
        _is_text,
    ),
}
"""What each part of a record is, where it is there: whoever reads a record takes it as such."""

MOST_LEVELS = 64


def _is_deep(record: dict[str, Any]) -> bool:
    level: list[Any] = [record]
    for _ in range(MOST_LEVELS):
        level = [
            part
            for node in level
            for part in (node.values() if isinstance(node, dict) else node)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def check_record(record: Any) -> dict[str, Any]:
    """Returns a record. Raises ValueError where a part has another type than vitlab writes."""
    if not isinstance(record, dict) or "status" not in record:
        raise ValueError("it is no run's record")
    for key, is_sound in KINDS.items():
        if key in record and not is_sound(record[key]):
            raise ValueError(f"it is no run's record: its {key} is not what vitlab writes")
    if _is_deep(record):
        raise ValueError("it is no run's record: it is nested too deeply")
    return record


def load_record(folder: Path) -> dict[str, Any]:
    """Returns the record of the run in a folder. Raises ValueError that names the file."""
    file = folder / "run.json"
    try:
        return check_record(json.loads(file.read_text()))
    except (OSError, ValueError, RecursionError) as error:
        reason = (
            error.strerror
            if isinstance(error, OSError)
            else "it is nested too deeply"
            if isinstance(error, RecursionError)
            else error
        )
        raise ValueError(f"{file} cannot be read: {reason}") from None


def read_record(folder: Path) -> dict[str, Any] | None:
    """Returns the record of the run in a folder, or None where there is none that can be read."""
    try:
        return load_record(folder)
    except ValueError:
        return None


def status_of(folder: Path) -> str | None:
    """Returns running, completed, failed or interrupted; None without a record. A run whose process is gone
    no longer runs. Of another machine's process SLURM knows whether its job is there; without SLURM the run's
    heartbeat tells. A run of before, without one, is what its record says."""
    record = read_record(folder)
    if record is None:
        return None
    if record["status"] != "running":
        return record["status"]
    if record.get("host") != platform.node():
        return "running" if _lives_elsewhere(record, folder) else "interrupted"
    process, began = record.get("process"), record.get("process_began")
    is_gone = (
        isinstance(process, int)
        and Path("/proc/self/stat").exists()
        and (began is None or _began(process) != began)
    )
    return "interrupted" if is_gone else "running"


def _lives_elsewhere(record: dict[str, Any], folder: Path) -> bool:
    """Tells whether a run that began on another machine still runs there, or waits in SLURM's queue."""
    sign = last_sign(folder)
    if record.get("heartbeat_seconds") is None or sign is None:
        return True
    is_silent = (datetime.now(UTC) - sign).total_seconds() > SILENT_SECONDS
    if record.get("slurm"):
        known = is_queued(record["slurm"], (folder / "run.json").stat().st_uid)
        return not is_silent if known is None else known
    return not is_silent


SIGNS_OF_LIFE = ("run.json", "metrics.jsonl", "checkpoints/*.ckpt")
"""What a training writes from its start to its end, and nobody else does."""


def last_sign(folder: Path) -> datetime | None:
    """Returns when the run in a folder last wrote something."""
    times = [file.stat().st_mtime for pattern in SIGNS_OF_LIFE for file in folder.glob(pattern)]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def wall_seconds(record: dict[str, Any], until: datetime | None) -> float:
    """Returns how long a run took, summed over its starts; `until` ends one without an end."""
    known = float(record.get("seconds") or 0.0)
    begin = [record.get("started"), *(resumed.get("at") for resumed in record.get("resumes", []))][-1]
    # the last start could say how long it took
    if record["status"] != "running" or until is None or not _is_time(begin):
        return known
    return known + max((until - datetime.fromisoformat(begin).astimezone(UTC)).total_seconds(), 0.0)
