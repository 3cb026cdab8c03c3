"""Which images stay together, on one side of every split: copies of a file, and groups."""

import torch
from torch import Tensor

from vitlab.data.samples import Samples


def _joined(one: Tensor, other: Tensor) -> Tensor:
    """Returns for each image the lowest number of `one` that it is tied to, through either of the two."""
    while True:
        lowest = torch.full((int(other.max()) + 1,), int(one.max()) + 1).scatter_reduce(0, other, one, "amin")
        tied = lowest[other]
        lowest = torch.full((int(one.max()) + 1,), int(one.max()) + 1).scatter_reduce(0, one, tied, "amin")
        tied = lowest[one]
        if torch.equal(tied, one):
            return one
        one = tied


def units_of(samples: Samples) -> Tensor | None:
    """Returns for each image the number of its unit, from 0 up; None where each image stands for itself.

    Images are of one unit where they come from the same file, byte for byte, or belong to one group. So are
    images that others tie together: where A and B are copies, and B and C of one group, all three are one
    unit.
    """
    kinds = [
        torch.unique(kind, return_inverse=True)[1]
        for kind in (samples.files, samples.groups)
        if kind is not None and len(kind)
    ]
    if not kinds:
        return None
    units = _joined(*kinds) if len(kinds) == 2 else kinds[0]
    units = torch.unique(units, return_inverse=True)[1]
    return units if int(units.max()) + 1 < len(units) else None


def describe_units(samples: Samples) -> list[str]:
    """Returns lines on the copies and the groups that a split of these images keeps on one side."""
    lines = []
    if samples.files is not None and (copies := len(samples.files) - len(samples.files.unique())):
        lines.append(
            f"{copies:,} of {len(samples):,} images are copies of another one (the same file twice): all"
            " copies of a file are kept in one split"
        )
    if samples.groups is not None:
        number = len(samples.groups.unique())
        lines.append(f"{len(samples):,} images in {number:,} groups: each group is kept in one split")
    return lines
