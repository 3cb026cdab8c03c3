"""Runs side by side: what each was told to do, how it went, in what they differ, and which reached most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from vitlab.runs.history import read_history

SEED, FOLD = "seed", "data.fold"
REPEATED = (SEED, FOLD)
"""Runs that differ by these alone are one configuration."""

Curve = list[tuple[int, float]]
"""Values of a metric with the optimizer steps at which they were measured."""


@dataclass
class Entry:
    """One run of a comparison: its overrides by key, with the facts of its record and its sweep."""

    label: str
    folder: Path
    overrides: list[str]
    options: list[str]
    status: str
    reason: str | None
    seconds: float
    metrics: dict[str, float]
    config: dict[str, Any]
    choices: dict[str, str | None]
    started: str = ""
    corrected: bool = False
    """Whether a later command of the sweep has this job anew: it belongs to no configuration."""

    @property
    def settings(self) -> dict[str, str]:
        parts = [override.partition("=") for override in self.overrides]
        return {key.lstrip("+~"): value for key, _, value in parts}

    @property
    def num_folds(self) -> int | None:
        data = self.config.get("data")
        number = data.get("num_folds") if isinstance(data, Mapping) else None
        return number if isinstance(number, int) else None

    @property
    def repeat(self) -> tuple[float | str, float | str]:
        """Which of the runs of its configuration this is: its seed and its fold, if any."""
        seed, fold = self.settings.get(SEED, str(self.config.get(SEED, ""))), ""
        if self.num_folds is not None:
            fold = self.settings.get(FOLD, str(self.config["data"].get("fold", "")))
        return comparable(seed), comparable(fold)

    @property
    def command(self) -> list[str]:
        """The command that trains this run again, elsewhere."""
        return ["vitlab", "train", *self.options, *self.overrides]

    def curve(self, metric: str) -> Curve:
        """Returns how a metric went during the run; for `best/val/loss`, that is the curve of `val/loss`."""
        name = metric.removeprefix("best/")
        history = read_history(self.folder).items()
        return sorted((step, value) for (step, known), value in history if known == name)


class Comparison:
    """Entries, the keys in which they differ, the metric that ranks them, and commands of their sweeps."""

    def __init__(
        self,
        entries: Sequence[Entry],
        metric: str,
        direction: str,
        name: str = "",
        commands: Sequence[str] = (),
    ):
        self.entries = list(entries)
        self.name = name
        self.commands = list(commands)
        self.metric = metric
        self.direction = direction
        self.notes: list[str] = []
        """What was passed over, a line each."""
        self.varied = self._varied()

    @property
    def title(self) -> str:
        """Returns what is compared and the day, or the days, on which it ran."""
        days = sorted({entry.started[:10] for entry in self.entries if entry.started})
        when = [days[0]] if days[:1] == days[-1:] and days else [days[0], days[-1]] if days else []
        return ", ".join([self.name or "Runs", *([" to ".join(when)] if when else [])])

    @property
    def standing(self) -> list[Entry]:
        """The entries that make up configurations."""
        return [entry for entry in self.entries if not entry.corrected]

    def _varied(self) -> list[str]:
        keys = dict.fromkeys(key for entry in self.standing for key in entry.settings if key != "resume")
        return [key for key in keys if len(self._known(key)) > 1]

    def _known(self, key: str) -> set[float | str]:
        """Returns the values of a key in all entries, except those that ended too early to have one."""
        known = [entry for entry in self.standing if entry.config or key in entry.settings]
        return {comparable(self.value(entry, key)) for entry in known}

    def value(self, entry: Entry, key: str) -> str:
        """Returns an entry's value of a key: from its overrides, else from its config, else empty."""
        if (told := entry.settings.get(key)) is not None:
            return told
        node: Any = entry.config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping):
            node = entry.choices.get(key)  # of a config group the config has the content, not the name
        return "" if node is None else str(node).lower() if isinstance(node, bool) else str(node)

    def values(self, entry: Entry, keys: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.value(entry, key) for key in keys)

    @property
    def parameters(self) -> list[str]:
        """The varied keys but for the seed and the fold."""
        return [key for key in self.varied if key not in REPEATED]

    def reached(self, entry: Entry) -> float | None:
        """Returns what a completed entry reached, or None where that is no number."""
        value = entry.metrics.get(self.metric)
        return value if entry.status == "completed" and value is not None and isfinite(value) else None


def comparable(value: str) -> float | str:
    """Returns text as a number where it is one: 1e-3 as 0.001."""
    try:
        return float(value)
    except ValueError:
        return value
