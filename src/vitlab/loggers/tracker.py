"""What trackers on a server have in common: each goes on with its own run, is told nothing twice, and hears
what it lost from the run's history. A server that is away holds no training up."""

import logging
import time
import uuid
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from vitlab.loggers.run_logger import Ending, RunFacts, RunLogger
from vitlab.runs.history import FILE, read_history
from vitlab.runs.status import read_record

log = logging.getLogger(__name__)

BEST = Path("checkpoints", "best.ckpt")

MISSING = "missing_from"
"""In a tracker's identity: the step from which on it was away until the run's end."""

SOON, LATE = 30.0, 600.0
"""Seconds until a tracker that is away is asked again: the first time, and at most; each wait doubles."""

MOST = 100
"""Pictures and texts that wait for a tracker; numbers are read from the history."""


class Away(Exception):
    """Why a tracker cannot be told anything now."""


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
    tracker has already is held back, and what never reached it is told from `metrics.jsonl`. So it is with a
    tracker that is away for a while: it is asked again now and then, and at the end.
    """

    def __init__(self, run_dir: str):
        super().__init__()
        self.folder = Path(run_dir)
        self.id: str | None = None
        self.goes_on = self.is_open = False
        self.step = 0
        self.told: dict[str, int] = {}
        """The last step at which the tracker was told a number or a picture, by name."""
        self.away_since: int | None = None
        self.ask_at, self.wait = 0.0, SOON
        self.kept: deque[Callable[[], None]] = deque()
        self.num_dropped = 0

    @abstractmethod
    def open(self, run: RunFacts) -> None:
        """Begins the run called `id` in the tracker, or goes on with it. This and what follows raise Away."""

    @abstractmethod
    def last_steps(self) -> dict[str, int]:
        """Returns what `told` was when the run was last told anything, from the tracker itself."""

    @abstractmethod
    def write(self, values: Mapping[str, float], step: int) -> None:
        """Tells numbers that the tracker does not have."""

    @abstractmethod
    def show(self, name: str, content: bytes, step: int) -> None:
        """Tells a picture that the tracker does not have."""

    def page(self, name: str, markdown: str) -> None:
        """Tells a page of Markdown."""

    def close(self, ending: Ending) -> None:
        """Tells how the run ended."""

    def word(self, name: str) -> str:
        """Returns what the tracker calls a number."""
        return name

    @property
    def place(self) -> str:
        """Where the tracker is, for lines about it."""
        return self.title

    def identity(self) -> dict[str, Any]:
        """Returns the id, which is chosen before the tracker hears of the run: a kill between the two does
        not make a second run there."""
        self.id = self.id or uuid.uuid4().hex[:12]
        return {"id": self.id} | self.missing()

    def missing(self) -> dict[str, int]:
        """Returns, as part of the identity, from which step on an absent tracker lacks what it was told."""
        return {} if self.away_since is None else {MISSING: self.away_since}

    def of_parent(self) -> dict[str, str]:
        """Returns the tracker's own ids of the run that this one continues, as far as its record tells."""
        record = read_record(Path(str(self.run.parent))) or {}  # it may be gone by now, or a stranger's
        known = record.get("loggers", {})
        known = known.get(self.title) if isinstance(known, dict) else None
        ids = known if isinstance(known, dict) else {}
        return {name: ids[name][:64] for name in ("id", "run_id") if isinstance(ids.get(name), str)}

    def resumed(self, identity: Mapping[str, Any]) -> None:
        known = identity.get("id")
        self.goes_on = isinstance(known, str) and known.isalnum()
        self.id = known if self.goes_on else None

    def go_back(self, step: int, state: Mapping[str, Any]) -> None:
        """Waits for `begin`, when the history is that of the checkpoint."""

    def begin(self, run: RunFacts) -> None:
        """Raises ValueError where a new run's tracker is away; a run that goes on does so without it."""
        self.identity()
        self.run, self.step = run, run.step
        try:
            self._take_up()
        except Away as error:
            if not self.goes_on:
                raise ValueError(f"{self.place}: {error}") from None
            self._miss(run.step, error)

    def _take_up(self) -> None:
        """Opens the run, unless it is open, and tells what the tracker does not have of its history."""
        if not self.is_open:
            self.open(self.run)
            self.is_open = True
        if self.goes_on or self.away_since is not None:
            self.told = self.last_steps()
            for step, rows in groupby(read_history(self.folder).items(), lambda row: row[0][0]):
                self._write({name: value for (_, name), value in rows}, step)

    def _write(self, values: Mapping[str, float], step: int) -> None:
        words = {self.word(name): value for name, value in values.items()}
        if new := {name: value for name, value in words.items() if step > self.told.get(name, -1)}:
            self.write(new, step)
            self.told |= dict.fromkeys(new, step)

    def _show(self, name: str, content: bytes, step: int) -> None:
        if step > self.told.get(name, -1):
            self.show(name, content, step)
            self.told[name] = step

    def _miss(self, step: int, why: Away) -> None:
        if self.away_since is None:
            self.away_since, self.wait = step, SOON
            log.warning(
                "%s: %s; training goes on, and what is missing there from step %d on is told when it is back:"
                " numbers are in %s, pictures in figures/",
                self.place,
                why,
                step,
                self.folder / FILE,
            )
        self.ask_at, self.wait = time.monotonic() + self.wait, min(2 * self.wait, LATE)

    def _is_there(self) -> bool:
        """Tells whether the tracker may be told now; one that was away is told first what it missed."""
        if self.away_since is None or time.monotonic() < self.ask_at:
            return self.away_since is None
        self._take_up()
        while self.kept:
            self.kept[0]()
            self.kept.popleft()
        dropped = f", but for {self.num_dropped} pictures and pages" if self.num_dropped else ""
        log.info(
            "%s is back: it was told what it missed from step %d on%s", self.place, self.away_since, dropped
        )
        self.away_since, self.num_dropped = None, 0
        return True

    def tell(self, step: int, telling: Callable[[], None], is_kept: bool = True) -> None:
        """Tells something of a step now, or keeps it for when an absent tracker is back."""
        try:
            if self._is_there():
                telling()
                return
        except Away as error:
            self._miss(step, error)
        if is_kept:  # numbers are in the history
            if len(self.kept) == MOST:
                self.kept.popleft()
                self.num_dropped += 1
            self.kept.append(telling)

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self.step = step
        self.tell(step, lambda: self._write(values, step), is_kept=False)

    def picture(self, name: str, content: bytes, step: int) -> None:
        self.tell(step, lambda: self._show(name, content, step))

    def text(self, name: str, markdown: str) -> None:
        self.tell(self.step, lambda: self.page(name, markdown))

    def catch_up(self, run: RunFacts, result: str, ending: Ending) -> None:
        """Tells a tracker that was away when a run ended what it missed. Raises Away where it still is."""
        self.run = run
        self._take_up()
        self.page("result", result)
        self.close(ending)

    def end(self, ending: Ending) -> None:
        self.ask_at = 0.0
        self.tell(self.step, lambda: self.close(ending), is_kept=False)
        if self.away_since is not None:
            log.warning(
                "%s is still away: it has nothing from step %d on, nor that the run %s; numbers are in %s,"
                " pictures in figures/%s",
                self.place,
                self.away_since,
                ending,
                self.folder / FILE,
                f"; later `vitlab train resume={self.folder} logger=...`, as the run had it, tells the rest"
                if self.id and self.run.hyperparameters
                else "",
            )
