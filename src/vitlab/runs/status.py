"""How the run in a folder stands, read from its record alone: without torch, so that a sweep or a list of runs asks quickly."""

import json
import os
import platform
from pathlib import Path
from typing import Any


def _began(process: int) -> str | None:
    """Returns a name for the moment when a process of this machine began, None where there is none (or no /proc to tell)."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if state in "ZX" else f"{boot} {fields[18]}"  # a zombie is dead, only not buried


def this_process() -> dict[str, Any]:
    """Returns what tells this process from any other, also from a later one with its number."""
    return {"process": os.getpid(), "host": platform.node(), "process_began": _began(os.getpid())}


def read_record(folder: Path) -> dict[str, Any] | None:
    """Returns the record of the run in a folder, or None where there is none that can be read."""
    try:
        record = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "status" in record else None


def status_of(folder: Path) -> str | None:
    """Returns running, completed, failed or interrupted, None without a record; a run whose process is gone is no longer running."""
    record = read_record(folder)
    if record is None:
        return None
    if record["status"] != "running" or record.get("host") != platform.node():
        return record["status"]  # of another machine's processes nobody knows
    process, began = record.get("process"), record.get("process_began")
    is_gone = isinstance(process, int) and Path("/proc/self/stat").exists() and (began is None or _began(process) != began)
    return "interrupted" if is_gone else "running"
