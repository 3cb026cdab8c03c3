"""Which of two models is better, judged on the same images."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vitlab.evaluation.bootstrap import Interval, interval, values_of_drawings
from vitlab.objectives.direction import mode_of
from vitlab.objectives.weighted import Weighted


@dataclass(frozen=True)
class Difference:
    """A metric of both models, and how much more of it the first one has, with the interval of that."""

    first: float
    second: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True)
class McNemar:
    """How many images only one of two models is right on, and how probable so uneven a split is (exact)."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first_right: Tensor, second_right: Tensor) -> McNemar:
    """Compares two models by their truths an image: McNemar 1947, by the binomial distribution."""
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    count, fewer = only_first + only_second, min(only_first, only_second)
    term, total = 1, 1
    for taken in range(fewer):
        term = term * (count - taken) // (taken + 1)
        total += term
    return McNemar(only_first, only_second, min(1.0, 2 * total / 2**count))


def differences(
    first: Mapping[str, Weighted],
    second: Mapping[str, Weighted],
    number: Mapping[str, int],
    count: int,
    level: float,
    seed: int,
) -> dict[str, Difference]:
    """Returns the differences in the metrics of both, each model on the same drawings of the images."""
    names = [name for name in first if name in second]
    once = torch.ones(count, 1)
    both = {
        f"{which}/{name}": metrics[name] for which, metrics in enumerate((first, second)) for name in names
    }
    wanted = {f"{which}/{name}": number[name] for which in (0, 1) for name in names if name in number}
    drawn = values_of_drawings(both, count, seed, wanted)
    found = {}
    for name in names:
        values = [float(metrics[name](once)) for metrics in (first, second)]
        if all(map(math.isfinite, values)):
            likely = interval(drawn[f"0/{name}"] - drawn[f"1/{name}"], level)
            found[name] = Difference(values[0], values[1], values[0] - values[1], likely)
    return found


def conclusion(
    name: str,
    difference: Difference,
    level: float,
    test: McNemar | None,
    count: int,
    models: tuple[str, str] = ("the checkpoint", "the other"),
) -> str:
    """Says in a sentence which of two models is better by a metric; a share is told in points."""
    scale, unit = (100, " points") if test is not None else (1, "")
    better = difference.difference if mode_of(name) == "max" else -difference.difference
    likely = difference.interval
    how = ""
    if test is not None:
        how = (
            f"; only {models[0]} is right on {test.only_first:,}, only {models[1]} on {test.only_second:,}:"
            f" McNemar p = {test.p:.2g}"
        )
    if likely is None:
        return f"By {name} nothing tells {models[0]} and {models[1]} apart on these {count:,} images{how}."
    low, high = sorted(scale * end * (1 if mode_of(name) == "max" else -1) for end in likely[:2])
    bounds = f"{100 * level:.3g}%: {low:+.4g} to {high:+.4g}{unit}"
    surely = low > 0 or high < 0
    if test is not None:
        surely = surely and test.p < 1 - level
    if not surely:
        told = f"{scale * better:+.4g}{unit} ({bounds}){how}"
        which = " or ".join(models)
        return f"By {name} these {count:,} images do not tell whether {which} is better: {told}."
    which = " is better than ".join(models if better > 0 else models[::-1])
    return f"By {name} {which}, by {abs(scale * better):.4g}{unit} ({bounds}; {count:,} images){how}."


def as_plain(found: Mapping[str, Difference], tests: Mapping[str, McNemar]) -> dict[str, Any]:
    """Returns plain data for a record."""
    told: dict[str, Any] = {
        name: asdict(each) | {"interval": each.interval and each.interval._asdict()}
        for name, each in found.items()
    }
    return {"metrics": told, "mcnemar": {name: asdict(test) for name, test in tests.items()}}
