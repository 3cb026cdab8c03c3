"""From which probability on an image has a label: fitted on the validation split, a number a label."""

from typing import Any

import torch
from torch import Tensor

from vitlab.shapes import ManyLabels, SoftLabels

USUAL = 0.5
"""Of a label that the validation split has no image of, or has nothing but."""

MOST_IMAGES = 200_000
"""Images that thresholds are fitted to; of more, evenly spaced ones are taken."""


def fit_thresholds(probabilities: SoftLabels, labels: ManyLabels) -> Tensor:
    """Returns for each label the probability from which on a yes gives the highest F1: float32 [labels], 0
    to 1; it lies half way between two images', of equal ones as near to 0.5 as it gets."""
    every = max(1, len(labels) // MOST_IMAGES)
    probabilities, labels = probabilities[::every].double(), labels[::every].long()
    found = [_fit(probabilities[:, label], labels[:, label]) for label in range(labels.shape[1])]
    return torch.tensor(found, dtype=torch.float32)


def _fit(probabilities: Tensor, labels: Tensor) -> float:
    number = int(labels.sum())
    if number in (0, len(labels)):
        return USUAL
    ordered, order = probabilities.sort(descending=True)
    taken = torch.arange(1, len(labels) + 1)
    f1 = 2 * labels[order].cumsum(0) / (taken + number)
    below = torch.cat([ordered[1:], ordered.new_zeros(1)])
    cut = (ordered + below) / 2
    f1 = torch.where(ordered > below, f1, -1.0)  # equal probabilities lie on one side
    best = cut[f1 == f1.max()]
    return float(best[(best - USUAL).abs().argmin()])


def as_thresholds(plain: Any, count: int) -> Tensor:
    """Reads thresholds that a file holds, a number a label. Raises ValueError where it is anything else."""
    found = (plain or {}).get("thresholds")
    if not isinstance(found, Tensor) or found.dtype != torch.float32 or found.shape != (count,):
        raise ValueError("objective.thresholds")
    if not bool(((found >= 0) & (found <= 1)).all()):
        raise ValueError("objective.thresholds")
    return found
