"""How far a metric would move on other such images, by the bootstrap (Efron 1979)."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vitlab.objectives.weighted import Weighted

DRAWINGS = 1000
"""How often the images are drawn."""

FEWEST = 200
"""How often at least, where a metric takes long."""

AT_ONCE = 100
"""Drawings that are counted together: of 50,000 images they take 20 MB."""

MOST_UNDEFINED = 0.05
"""Above this share of drawings without a value there is no interval."""


class Interval(NamedTuple):
    """Bounds that hold the truth in a share `level` of cases, from so many drawings of the images."""

    low: float
    high: float
    level: float
    drawings: int


def weights_of_drawings(count: int, number: int, seed: int) -> Iterator[Tensor]:
    """Yields how often each of `count` images is drawn, [images, drawings], `AT_ONCE` drawings at a time."""
    generator = torch.Generator().manual_seed(seed)
    for some in torch.arange(number).split(AT_ONCE):
        drawn = torch.randint(count, (len(some), count), generator=generator)
        place = drawn + (torch.arange(len(some)) * count)[:, None]
        times = place.flatten().bincount(minlength=len(some) * count)
        yield times.view(len(some), count).T.float().contiguous()


def values_of_drawings(
    metrics: Mapping[str, Weighted], count: int, seed: int, number: Mapping[str, int]
) -> dict[str, Tensor]:
    """Returns each metric's value for each drawing; `number` says how many by name, `DRAWINGS` if it does
    not. The drawings of one seed are the same for all metrics, and for all models on the same images."""
    wanted = {name: number.get(name, DRAWINGS) for name in metrics}
    found: dict[str, list[Tensor]] = {name: [] for name in metrics}
    for turn, weights in enumerate(weights_of_drawings(count, max(wanted.values(), default=0), seed)):
        for name, metric in metrics.items():
            if turn * AT_ONCE < wanted[name]:
                found[name].append(metric(weights).double())
    return {name: torch.cat(values)[: wanted[name]] for name, values in found.items()}


def interval(values: Tensor, level: float) -> Interval | None:
    """Returns the interval that the values of drawings give by their percentiles; None where it would say
    nothing: too many have no value, or all have the same."""
    defined = values[values.isfinite()]
    if (
        len(defined) < (1 - MOST_UNDEFINED) * len(values)
        or not len(defined)
        or defined.min() == defined.max()
    ):
        return None
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = defined.quantile(ends).tolist()
    return Interval(low, high, level, len(values))
