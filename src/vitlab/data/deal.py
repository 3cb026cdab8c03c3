"""Sharing out images to the sides of a split, or to folds: every class by its share, and units whole."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vitlab.randomness import generator_at
from vitlab.shapes import Labels

Unit = tuple[int, dict[int, int]]
"""A unit of several images: its number, and how many of them each class has."""


def members_of(labels: Labels, seed: int, name: str) -> dict[int, Tensor]:
    """Returns the places of each class's images, in an order drawn for the purpose `name`."""
    by_class = labels.argsort(stable=True).split(labels.bincount().tolist())
    return {
        label: own[torch.randperm(len(own), generator=generator_at(seed, name, label))]
        for label, own in enumerate(by_class)
        if len(own)
    }


def _by_room(room: Tensor, count: int) -> Tensor:
    """Returns how many of `count` images each side gets, by the room that it has left; all are given away."""
    exact = room.clamp(min=0).double() * (count / max(int(room.clamp(min=0).sum()), 1))
    shares = exact.floor().long()
    rest = (exact - shares).argsort(descending=True, stable=True)[: count - int(shares.sum())]
    shares[rest] += 1
    return shares


def _units_of_several(units: Tensor, classes: Tensor, num_classes: int, order: Tensor) -> list[Unit]:
    """Returns the units of more than one image, the largest first, equal ones in the given order."""
    sizes = units.bincount()
    several = (sizes[units] > 1).nonzero().flatten()
    pairs, counts = (units[several] * num_classes + classes[several]).unique(return_counts=True)
    held: dict[int, dict[int, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        held.setdefault(pair // num_classes, {})[pair % num_classes] = count
    ordered = order[sizes[order].argsort(descending=True, stable=True)]
    return [(unit, held[unit]) for unit in ordered[sizes[ordered] > 1].tolist()]


class _Table:
    """How many images of each class lie on each side, beside how many should."""

    def __init__(self, targets: Tensor, counts: Tensor | None = None):
        self.targets: list[list[int]] = targets.tolist()
        self.counts: list[list[int]] = (torch.zeros_like(targets) if counts is None else counts).tolist()
        self.sides = range(len(self.targets))

    def put(self, side: int, held: dict[int, int], sign: int = 1) -> None:
        for label, number in held.items():
            self.counts[side][label] += sign * number

    def by_cost(self, held: dict[int, int]) -> list[int]:
        """Returns the sides by how much this unit there would raise the sum of count² / target, which is
        least where every side has its share of every class."""

        def cost(side: int) -> float:
            targets, counts = self.targets[side], self.counts[side]
            return sum(
                (2 * counts[label] + number) * number / max(targets[label], 0.5)
                for label, number in held.items()
            )

        return sorted(self.sides, key=cost)

    def full(self, label: int) -> int | None:
        """Returns the side that holds all images of a class, where one does."""
        total = sum(self.counts[side][label] for side in self.sides)
        return next((side for side in self.sides if self.counts[side][label] == total), None)


def _part(sides: Tensor, units: Tensor, classes: Tensor, targets: Tensor) -> None:
    """Moves a unit of each class that lies on one side alone: the smallest that leaves no other class so."""
    num_sides, num_classes = targets.shape
    counts = torch.bincount(sides * num_classes + classes, minlength=num_sides * num_classes)
    table = _Table(targets, counts.view(num_sides, num_classes))
    for label in range(num_classes):
        full = table.full(label)
        if full is None:
            continue
        own, sizes = units[classes == label].unique(), units.bincount()
        for unit in own[sizes[own].argsort(stable=True)].tolist():
            held = dict(enumerate(torch.bincount(classes[units == unit]).tolist()))
            table.put(full, held, -1)
            for side in table.by_cost(held):
                table.put(side, held)
                if all(table.full(each) is None for each, number in held.items() if number):
                    sides[units == unit] = side
                    break
                table.put(side, held, -1)
            else:
                table.put(full, held)
                continue
            break


def deal(members: Sequence[Tensor], targets: Tensor, units: Tensor | None, order: Tensor | None) -> Tensor:
    """Returns the side of each image. `members` are the places of each class's images in the order in which
    they are given away, `targets` [sides, classes] how many of them each side should get.

    Without `units` every side gets just that. Images of a unit go to one side: large units first, each to
    where it serves the targets best, then single images fill what room is left; `order` of all units decides
    between units of one size.
    """
    sides = torch.full((sum(map(len, members)),), -1)
    classes = torch.empty_like(sides)
    for label, own in enumerate(members):
        classes[own] = label
    table = _Table(targets)
    if units is not None and order is not None:
        of_unit = torch.full((len(order),), -1)
        for unit, held in _units_of_several(units, classes, len(members), order):
            of_unit[unit] = side = table.by_cost(held)[0]
            table.put(side, held)
        sides = of_unit[units]
    rooms = targets - torch.tensor(table.counts)
    for label, own in enumerate(members):
        single = own[sides[own] < 0]
        sides[single] = torch.arange(len(targets)).repeat_interleave(_by_room(rooms[:, label], len(single)))
    if units is not None:
        _part(sides, units, classes, targets)
    return sides
