"""What data says of each image (a class, labels or numbers), and how these are ordered and compared."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from vitlab.shapes import Labels, Targets

TargetKind = Literal["class", "labels", "numbers"]
"""One class an image, int64 [N]; labels, 0 or 1 in int8 [N, labels]; numbers, float32 [N, outputs]."""

IN_WORDS = {"class": "one class an image", "labels": "several labels an image", "numbers": "numbers an image"}

WAYS_OUT: dict[TargetKind, str] = {
    "class": "objective=multilabel or regression",
    "labels": "data=table data.label_column=[a,b], or data=planted_labels to try,",
    "numbers": "data=table data.label_column=[a,b]",
}
"""What to choose where data does not have the kind that the objective asks for."""


def check_kind(asked: TargetKind, given: TargetKind, source: str) -> None:
    """Raises ValueError where data is not of the objective's kind; `source` is the data's class in words."""
    if given != asked:
        raise ValueError(
            f"data.targets={asked}, as the objective has it, is {IN_WORDS[asked]}, and the data ({source})"
            f" has {IN_WORDS[given]}; {WAYS_OUT[asked]} would work"
        )


def kind_of(targets: Tensor) -> TargetKind:
    """Returns which of the three a tensor holds."""
    if targets.ndim == 1:
        return "class"
    return "numbers" if targets.is_floating_point() else "labels"


def counts_of(targets: Targets, count: int) -> Tensor:
    """Returns how many images have each class or label; of numbers, how many images there are, for each."""
    if targets.ndim == 1:
        return targets.bincount(minlength=count)
    return torch.full((count,), len(targets)) if targets.is_floating_point() else targets.long().sum(dim=0)


def has(targets: Targets, index: int) -> Tensor:
    """Tells for each image whether it has a class or label; every image has a number."""
    if targets.ndim == 1:
        return targets == index
    return targets[:, index] == 1 if not targets.is_floating_point() else torch.ones(len(targets)).bool()


def strata_of(targets: Targets) -> Labels:
    """Returns one whole number an image, for orders that are fair to all kinds of images: its class; of
    several labels the rarest (without any, their number); of numbers 0."""
    if targets.ndim == 1:
        return targets
    if targets.is_floating_point():
        return torch.zeros(len(targets), dtype=torch.int64)
    counts = targets.long().sum(dim=0)
    rarity = torch.where(targets == 1, counts, len(targets) + 1)
    return torch.where(targets.sum(dim=1) > 0, rarity.argmin(dim=1), targets.shape[1])


def codes_of(targets: Targets) -> Labels:
    """Returns a whole number for equal targets, in every run: the class, or the start of the values' hash."""
    if targets.ndim == 1:
        return targets
    rows = targets.double().contiguous().numpy()
    codes = [
        int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=4).digest(), "little", signed=True)
        for row in rows
    ]
    return torch.tensor(codes, dtype=torch.int64)


def hash_of(targets: Targets) -> str:
    """Returns a hash of all targets in their order."""
    shape = repr(tuple(targets.shape)).encode()
    return hashlib.blake2b(shape + targets.double().numpy().tobytes(), digest_size=16).hexdigest()


def named(targets: Tensor, names: Sequence[str]) -> str:
    """Returns one image's targets in words: its class, its labels, or its numbers with their names."""
    if targets.ndim == 0:
        return names[int(targets)]
    if targets.is_floating_point():
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, targets.tolist(), strict=True))
    return ", ".join(name for name, has_it in zip(names, targets.tolist(), strict=True) if has_it) or "none"
