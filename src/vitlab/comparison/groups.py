"""Configurations: runs that differ by seed or fold alone, with mean and deviation of what they reached."""

from collections import Counter
from dataclasses import dataclass
from math import isfinite, nan
from statistics import fmean, stdev

from vitlab.comparison.entries import REPEATED, Comparison, Entry, comparable


@dataclass
class Group:
    """One configuration and its runs."""

    values: tuple[str, ...]
    entries: list[Entry]

    def reached(self, metric: str) -> list[float]:
        """Returns what its completed runs reached, one value a seed and fold, whatever ran twice."""
        return list({entry.repeat: entry.metrics[metric] for entry in self._completed(metric)}.values())

    def _completed(self, metric: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.status == "completed" and metric in entry.metrics]

    def over(self, metric: str) -> str:
        """Returns what the mean is over, such as "3 seeds" or "4 of 5 folds"; nothing where it is no mean."""
        completed = self._completed(metric)
        seeds, folds = (len({entry.repeat[place] for entry in completed}) for place in (0, 1))
        num_folds = completed[0].num_folds if completed else None
        told = [f"{seeds} seeds"] if seeds > 1 else []
        if num_folds is not None:
            told.insert(0, f"{num_folds} folds" if folds == num_folds else f"{folds} of {num_folds} folds")
        return " and ".join(told)

    def mean(self, metric: str) -> float | None:
        return fmean(values) if (values := self.reached(metric)) else None

    def summary(self, metric: str) -> str:
        """Returns the mean ± the sample's standard deviation over the completed runs."""
        values = self.reached(metric)
        if len(values) < 2:
            return f"{values[0]:.4f}" if values else ""
        return f"{fmean(values):.4f} ± {stdev(values) if all(map(isfinite, values)) else nan:.4f}"

    def statuses(self) -> str:
        counts = Counter(entry.status for entry in self.entries)
        return ", ".join(f"{count} {status}" for status, count in counts.items())


def group(comparison: Comparison) -> list[Group]:
    """Returns the configurations, the best first by the mean of completed runs, those without one last."""
    found: dict[tuple, Group] = {}
    for entry in sorted(comparison.standing, key=lambda entry: not entry.config):
        values = comparison.values(entry, comparison.parameters)
        key = tuple(map(comparable, values))
        # it never began: what it was not told is not known, so it joins those that were told the same
        if not entry.config:
            alike = [each for each, member in found.items() if _told(entry) in map(_told, member.entries)]
            key = alike[0] if alike else (key, _told(entry))
        found.setdefault(key, Group(values, [])).entries.append(entry)
    place = {id(entry): index for index, entry in enumerate(comparison.entries)}
    for member in found.values():
        member.entries.sort(key=lambda entry: place[id(entry)])
    sign = -1.0 if comparison.direction == "maximize" else 1.0
    means = {id(member): member.mean(comparison.metric) for member in found.values()}

    def rank(member: Group) -> tuple[bool, float, int]:
        value, first = means[id(member)], place[id(member.entries[0])]
        return (True, 0.0, first) if value is None or not isfinite(value) else (False, sign * value, first)

    return sorted(found.values(), key=rank)


def _told(entry: Entry) -> frozenset[tuple[str, float | str]]:
    return frozenset(
        (key, comparable(value)) for key, value in entry.settings.items() if key not in (*REPEATED, "resume")
    )


def best(comparison: Comparison) -> tuple[Group, Entry] | None:
    """Returns the best configuration and its best run; None where no run completed."""
    first = next(iter(group(comparison)), None)
    runs = [entry for entry in first.entries if comparison.reached(entry) is not None] if first else []
    if not runs or first is None:
        return None
    choose = max if comparison.direction == "maximize" else min
    return first, choose(runs, key=lambda entry: entry.metrics[comparison.metric])
