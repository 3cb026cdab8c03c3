"""The history of a run's metrics: every scalar with its step, exact, readable after a kill."""

import hashlib
import json
import re
from pathlib import Path

FILE = "metrics.jsonl"

MEASURED = re.compile(r"_per_second|_seconds|^DeviceStatsMonitor\.")
"""Names of scalars that say how fast or how hot the machine was: no second run has the same."""

History = dict[tuple[int, str], float]
"""Values by step and name, in the order they were logged."""


def read_history(folder: Path) -> History:
    """Returns the history of the run in `folder`, empty where nothing was logged. Steps that were logged
    again after a kill count once. Raises ValueError where a line other than the last is no row."""
    history: History = {}
    file = folder / FILE
    # what follows the last newline was never finished
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            step = row.pop("step")
            if type(step) is not int:
                raise ValueError
            history |= {(step, name): float(value) for name, value in row.items()}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise ValueError(f"{file}, line {number} is no row of metrics; the file is damaged") from None
    return history


def comparable(history: History) -> History:
    """Returns the rows that a second run must have too: all except those that depend on the machine."""
    return {(step, name): value for (step, name), value in history.items() if not MEASURED.search(name)}


def history_hash(history: History) -> str:
    """Returns a hash of every comparable scalar with step and name, in any order of logging."""
    rows = sorted((step, name, value.hex()) for (step, name), value in comparable(history).items())
    return hashlib.blake2b(repr(rows).encode(), digest_size=16).hexdigest()


def first_difference(before: History, now: History, whole: bool = True) -> str | None:
    """Returns the first step where two histories differ, with both values, or None; `now` may be longer."""
    before, now = comparable(before), comparable(now)
    keys = [*before, *(key for key in now if whole and key not in before)]
    for step, name in sorted(keys, key=lambda key: key[0]):  # within a step: in the order of logging
        old, new = (history.get((step, name)) for history in (before, now))
        if old is None or new is None or old.hex() != new.hex():
            return (
                f"step {step}: {name} was {'absent' if old is None else repr(old)}, is"
                f" {'absent' if new is None else repr(new)}"
            )
    return None
