"""What trackers on a server have in common: each goes on with its own run, is told nothing twice, and hears
what it lost from the run's history."""

import uuid
from abc import abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from vitlab.loggers.run_logger import RunFacts, RunLogger
from vitlab.runs.history import read_history

BEST = Path("checkpoints", "best.ckpt")


def require(package: str) -> None:
    """Raises ValueError where the package of a tracker is not installed."""
    if find_spec(package) is None:
        raise ValueError(f"logger={package} needs {package}: pip install 'vitlab[{package}]'")


def run_name(run: RunFacts) -> str:
    """Returns what a tracker calls a run: its folder's name, after its sweep's where it is a job of one."""
    return f"{run.sweep}/{run.folder.name}" if run.sweep else run.folder.name


class Tracker(RunLogger):
    """Keeps a run in a tracker that can take nothing back.

    A run that was killed tells the steps since its last checkpoint once more, to the same bits. So what the
    tracker has already is held back, and what never reached it is told from `metrics.jsonl`.
    """

    def __init__(self, run_dir: str):
        super().__init__()
        self.folder = Path(run_dir)
        self.id: str | None = None
        self.goes_on = False
        self.told: dict[str, int] = {}
        """The last step at which the tracker was told a number or a picture, by name."""

    @abstractmethod
    def open(self, run: RunFacts) -> None:
        """Begins the run called `id` in the tracker, or goes on with it."""

    @abstractmethod
    def last_steps(self) -> dict[str, int]:
        """Returns what `told` was when the run was last told anything, from the tracker itself."""

    @abstractmethod
    def write(self, values: Mapping[str, float], step: int) -> None:
        """Tells numbers that the tracker does not have."""

    @abstractmethod
    def show(self, name: str, content: bytes, step: int) -> None:
        """Tells a picture that the tracker does not have."""

    def identity(self) -> dict[str, Any]:
        """Returns the id, which is chosen before the tracker hears of the run: a kill between the two does
        not make a second run there."""
        self.id = self.id or uuid.uuid4().hex[:12]
        return {"id": self.id}

    def resumed(self, identity: Mapping[str, Any]) -> None:
        known = identity.get("id")
        self.goes_on = isinstance(known, str) and known.isalnum()
        self.id = known if self.goes_on else None

    def go_back(self, step: int, state: Mapping[str, Any]) -> None:
        """Waits for `begin`, when the history is that of the checkpoint."""

    def begin(self, run: RunFacts) -> None:
        self.identity()
        self.open(run)
        if self.goes_on:
            self.told = self.last_steps()
            for step, rows in groupby(read_history(self.folder).items(), lambda row: row[0][0]):
                self.numbers({name: value for (_, name), value in rows}, step)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        if new := {name: value for name, value in values.items() if step > self.told.get(name, -1)}:
            self.write(new, step)
            self.told |= dict.fromkeys(new, step)

    def picture(self, name: str, content: bytes, step: int) -> None:
        if step > self.told.get(name, -1):
            self.show(name, content, step)
            self.told[name] = step
