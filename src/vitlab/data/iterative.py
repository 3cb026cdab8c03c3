"""Sharing out images with several labels each (Sechidis, Tsoumakas and Vlahavas 2011), units whole."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vitlab.randomness import generator_at
from vitlab.shapes import Labels, ManyLabels

Held = list[tuple[int, int]]
"""The labels of a unit, each with how many of its images have it."""


def _units(labels: ManyLabels, units: Tensor) -> tuple[list[Held], list[int]]:
    """Returns what each unit holds, and how many images it has."""
    sizes = units.bincount()
    sums = torch.zeros(len(sizes), labels.shape[1], dtype=torch.int64).index_add_(0, units, labels.long())
    held: list[Held] = [[] for _ in sizes]
    for unit, label in sums.nonzero().tolist():
        held[unit].append((label, int(sums[unit, label])))
    return held, sizes.tolist()


class _Room:
    """How many more images each side wants, in all and of each label."""

    def __init__(self, wanted: Tensor, in_all: Sequence[float]):
        self.of_label: list[list[float]] = wanted.tolist()
        self.in_all = list(in_all)

    def side_for(self, label: int | None) -> int:
        """Returns the side that wants images of a label most, of equal ones that which wants images most."""
        return max(
            range(len(self.in_all)),
            key=lambda side: (0.0 if label is None else self.of_label[side][label], self.in_all[side]),
        )

    def put(self, side: int, held: Held, size: int) -> None:
        self.in_all[side] -= size
        for label, count in held:
            self.of_label[side][label] -= count


def _rarest(left: Tensor, still: Tensor) -> int | None:
    """Returns the label that the fewest units without a side have, or None where none has any."""
    counts = left[still].sum(dim=0)
    return int(counts.where(counts > 0, len(left) + 1).argmin()) if bool((counts > 0).any()) else None


def iterative_sides(
    labels: ManyLabels, shares: Sequence[float], wanted: Tensor, seed: int, name: str, units: Tensor | None
) -> Labels:
    """Returns the side of each image. `shares` are the sides' parts of all images, `wanted` [sides, labels]
    how many images of each label a side should get.

    The label that is left on the fewest units is given out first, each of its units (the largest first) to
    the side that wants that label most; images without a label follow. Ties fall by an order drawn from
    `seed` for the purpose `name`.
    """
    units = torch.arange(len(labels)) if units is None else torch.unique(units, return_inverse=True)[1]
    held, sizes = _units(labels, units)
    room = _Room(wanted, [share * len(labels) for share in shares])
    order = torch.randperm(len(held), generator=generator_at(seed, name, "several labels"))
    order = order[torch.tensor(sizes)[order].argsort(descending=True, stable=True)]
    has = torch.zeros(len(held), labels.shape[1], dtype=torch.bool)
    for unit, of_unit in enumerate(held):
        has[unit, [label for label, _ in of_unit]] = True
    of_unit_side, still = torch.full((len(held),), -1), torch.ones(len(held), dtype=torch.bool)
    while still.any():
        label = _rarest(has, still)
        chosen = order[still[order]] if label is None else order[(still & has[:, label])[order]]
        for unit in chosen.tolist():
            of_unit_side[unit] = side = room.side_for(label)
            room.put(side, held[unit], sizes[unit])
        still[chosen] = False
    return of_unit_side[units]
