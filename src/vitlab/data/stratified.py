"""Samples shared out so that every side has its part of every class, and units stay whole."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vitlab.data.deal import deal, members_of
from vitlab.data.iterative import iterative_sides
from vitlab.data.targets import counts_of, strata_of
from vitlab.randomness import generator_at
from vitlab.shapes import Targets


class Cut(NamedTuple):
    """What a refusal needs to say: the key with its value, the names of the classes, and what would help."""

    key: str
    class_names: Sequence[str]
    way_out: str
    shares: Sequence[float] = ()
    """The share of all images that each side gets."""

    def refused(self, label: int, why: str) -> ValueError:
        which = self.class_names[label] if self.class_names else label
        return ValueError(f"{self.key}: class {which} {why}; {self.way_out}")


def _shared_out(
    labels: Targets, targets: dict[int, list[int]], units: Tensor | None, seed: int, name: str, cut: Cut
) -> Tensor:
    """Returns the side of each sample; `targets` are by class how many samples each side should get. Raises
    ValueError where the units leave all samples of a class on one side; a label may be on one alone."""
    if labels.ndim == 2:
        wanted = torch.zeros(len(next(iter(targets.values()))), labels.shape[1], dtype=torch.int64)
        for label, numbers in targets.items():
            wanted[:, label] = torch.tensor(numbers)
        return iterative_sides(labels, cut.shares, wanted, seed, name, units)
    if units is not None:
        units = torch.unique(units, return_inverse=True)[1]
    members = members_of(labels, seed, name)
    order = None
    if units is not None:
        order = torch.randperm(int(units.max()) + 1, generator=generator_at(seed, name, "units"))
    sides = deal(list(members.values()), torch.tensor(list(targets.values())).T, units, order)
    if units is not None:
        for label, own in members.items():
            if (number := len(units[own].unique())) < 2:
                why = f"has {len(own):,} image(s), all of one group or copies of one file, and needs two"
                raise cut.refused(label, why)
            if len(sides[own].unique()) < 2:
                raise cut.refused(label, f"has its {number} groups on one side, however they are parted")
    return sides


def _numbers(labels: Targets) -> list[int]:
    """Returns how many samples each class or label has."""
    return counts_of(labels, labels.shape[1] if labels.ndim == 2 else 0).tolist()


def stratified_split(
    labels: Targets,
    fraction: float,
    seed: int,
    name: str,
    class_names: Sequence[str],
    way_out: str,
    units: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns ascending indices (rest, chosen): `fraction` of every class is chosen, at least one sample and
    never the whole class; with `units` as nearly so as these allow, which stay whole.

    Raises ValueError where a class has too few samples or units to appear on both sides; `name` is the key to
    blame, `way_out` what would help.
    """
    shares = [fraction, 1 - fraction]
    cut = Cut(f"{name}={fraction}", class_names, f"more images would work, or {way_out}", shares)
    labels = strata_of(labels) if labels.is_floating_point() else labels
    targets = {}
    for label, number in enumerate(_numbers(labels)):
        if number == 1 and labels.ndim == 1:
            raise cut.refused(label, "has 1 image(s) left to split, and needs one on each side")
        if number:
            count = min(max(round(fraction * number), 1), number - 1)  # of a label's only image none
            targets[label] = [count, number - count]
    sides = _shared_out(labels, targets, units, seed, name, cut)
    return (sides == 1).nonzero().flatten(), (sides == 0).nonzero().flatten()


def stratified_folds(
    labels: Targets, num_folds: int, seed: int, class_names: Sequence[str], units: Tensor | None = None
) -> Tensor:
    """Returns the fold of each sample: folds of one size, give or take one sample, in all and in every class;
    with `units` as nearly so as these allow, which stay whole. Raises ValueError where a class would lie in
    one fold alone, or a fold would be empty."""
    shares = [1 / num_folds] * num_folds
    cut = Cut(f"data.num_folds={num_folds}", class_names, "more images would work", shares)
    labels = strata_of(labels) if labels.is_floating_point() else labels
    targets, first = {}, 0
    for label, number in enumerate(_numbers(labels)):
        if number == 1 and labels.ndim == 1:
            raise cut.refused(label, "has 1 image(s), and needs one in two folds each")
        if number:  # the folds that get one more go round, or the first would be larger in every class
            targets[label] = [number // num_folds] * num_folds
            for extra in range(number % num_folds):
                targets[label][(first + extra) % num_folds] += 1
            first += number % num_folds
    folds = _shared_out(labels, targets, units, seed, "folds", cut)
    if empty := num_folds - len(folds.unique()):
        what = "images" if units is None else "groups"
        raise ValueError(f"{cut.key}: {empty} of them would be empty; fewer folds or more {what} would work")
    return folds
