"""How contestants are timed: in one process, in turn, and compared within a round, so that what slows the
machine slows them all."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]
"""Gives seconds since some moment."""


@dataclass(frozen=True)
class Contestant:
    """`run` is timed; `around` is entered before the clock starts and left after it stopped."""

    run: Callable[[], object]
    around: Callable[[], AbstractContextManager[Any]] = nullcontext


def seconds_of(contestant: Contestant, clock: Clock, repeats: int) -> float:
    """Returns the seconds that one of `repeats` runs takes."""
    with contestant.around():
        start = clock()
        for _ in range(repeats):
            contestant.run()
        return (clock() - start) / repeats


def interleave(
    contestants: Mapping[str, Contestant], rounds: int, clock: Clock, least_seconds: float = 0.0
) -> dict[str, list[float]]:
    """Returns each contestant's seconds a run, a value a round.

    Before the rounds all run in turn twice: what is built at first use is built (what is compiled looks
    whether the process is as it was then, which it is only once all have run), and the second time tells how
    many runs fill `least_seconds`, over which a measurement is averaged. Every round begins with another
    contestant, so that none always follows the same one.
    """
    names = list(contestants)
    for contestant in contestants.values():
        seconds_of(contestant, clock, 1)
    once = {name: seconds_of(contestant, clock, 1) for name, contestant in contestants.items()}
    repeats = {name: math.ceil(max(1.0, least_seconds / max(taken, 1e-6))) for name, taken in once.items()}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(seconds_of(contestants[name], clock, repeats[name]))
    return seconds


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Returns this over that for each round."""
    return [this / that for this, that in zip(these, those, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Returns `median [least-most]`, to so many digits behind the point."""
    return f"{statistics.median(values):,.{digits}f} [{min(values):,.{digits}f}-{max(values):,.{digits}f}]"
