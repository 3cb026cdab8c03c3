"""A run's history: a line of JSON for each set of numbers, in `metrics.jsonl`; every run has one."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitlab.files.atomic import writing
from vitlab.loggers.run_logger import RunLogger
from vitlab.runs.history import FILE


class MetricHistory(RunLogger):
    """Appends rows such as `{"step": 19, "train/loss": 2.302585}` to `metrics.jsonl` in `run_dir`.

    A kill leaves whole lines and perhaps a part of one, which readers pass over.
    """

    def __init__(self, run_dir: str | Path):
        super().__init__()
        self.file = Path(run_dir) / FILE

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        with writing(self.file), self.file.open("ab") as file:
            file.write(json.dumps({"step": step, **values}).encode() + b"\n")

    def state(self) -> dict[str, Any]:
        """Returns the file's size and hash: no other run's history has the same, since it holds speeds."""
        if not self.file.is_file():
            return {}
        with self.file.open("rb") as file:
            os.fsync(file.fileno())  # else the checkpoint could be on the disk before what it tells of
        size = self.file.stat().st_size
        return {"bytes": size, "blake2b": self._hash(size)}

    def _hash(self, size: int) -> str:
        with self.file.open("rb") as file:
            return hashlib.blake2b(file.read(size), digest_size=16).hexdigest()

    def lost(self, state: Mapping[str, Any]) -> list[str]:
        """Raises ValueError where the history that the checkpoint knew is another now; one that is gone costs
        a line."""
        if not state:
            return []
        if not self.file.is_file():
            return [f"{FILE} is gone"]
        if self.file.stat().st_size < state["bytes"] or state["blake2b"] != self._hash(state["bytes"]):
            raise ValueError(
                f"{self.file} no longer begins with the {state['bytes']:,} bytes that the checkpoint knows:"
                " it was cut or changed, or is another run's; a copy of it would work, or removing it: the"
                " run then goes on without what it told"
            )
        return []

    def go_back(self, step: int, state: Mapping[str, Any]) -> None:
        if not state:
            self.file.unlink(missing_ok=True)
        elif self.file.is_file():
            with writing(self.file):
                os.truncate(self.file, state["bytes"])
