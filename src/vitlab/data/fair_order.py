"""Orders whose every beginning is a fair choice over the classes, where images lie class by class."""

import torch
from torch import Tensor

from vitlab.data.targets import strata_of
from vitlab.shapes import Labels, Targets


def _turns(labels: Labels, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each label's place in its class, its class's place among the classes, and its size."""
    _, classes, sizes = labels.unique(return_inverse=True, return_counts=True)
    shuffled = torch.randperm(len(labels), generator=generator)
    turns = torch.empty_like(sizes)
    turns[torch.randperm(len(sizes), generator=generator)] = torch.arange(len(sizes))
    by_class = shuffled[classes[shuffled].argsort(stable=True)]
    place = torch.empty_like(shuffled)
    place[by_class] = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return place, turns[classes], sizes[classes]


def class_balanced(labels: Targets, count: int, generator: torch.Generator) -> Tensor:
    """Returns the places of at most `count` labels, every class in turn: any beginning is balanced too."""
    place, turn, _ = _turns(strata_of(labels), generator)
    return (place * (len(labels) + 1) + turn).argsort()[:count]


def by_shares(labels: Targets, generator: torch.Generator) -> Tensor:
    """Returns the places of all labels: first each class once, then all classes by their shares."""
    place, turn, sizes = _turns(strata_of(labels), generator)
    by_turn = turn.argsort(stable=True)
    return by_turn[(place.double() / sizes)[by_turn].argsort(stable=True)]


def evaluation_order(
    labels: Targets, limit: int | float, batch_size: int, generator: torch.Generator
) -> Tensor:
    """Returns the places of all labels: as they lie, or `by_shares` where `limit` leaves some out."""
    leaves_out = limit < 1.0 if isinstance(limit, float) else limit * batch_size < len(labels)
    return by_shares(labels, generator) if leaves_out else torch.arange(len(labels))
