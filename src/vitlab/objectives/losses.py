"""Losses of scores against labels, whole or mixed, and weights for classes of uneven size."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitlab.shapes import Labels, Logits, Loss, SoftLabels

EFFECTIVE_BETA = 0.999
"""How much each further image of a class adds: "Class-Balanced Loss" (Cui et al. 2019, arXiv:1901.05555)."""

ClassWeights = list[float] | Literal["auto", "effective"] | None


def as_weights(
    key: str, given: Sequence[float] | None, count: int, of: str, may_be_zero: bool = False
) -> Tensor | None:
    """Returns weights that a config gives as `objective.KEY`, float32 [count], or None for none.

    Raises ValueError where they are not one for each of `count` classes or labels (`of` says which), or not
    finite and above 0; some `may_be_zero`, but not all.
    """
    if given is None:
        return None
    if len(given) != count:
        raise ValueError(f"objective.{key}={given} has {len(given)} number(s) for {count} {of}")
    is_sound = all(math.isfinite(value) and (value > 0 or (may_be_zero and value == 0)) for value in given)
    if not is_sound or not any(given):
        least = "0 or more, and one above 0" if may_be_zero else "above 0"
        raise ValueError(f"objective.{key}={given} must be {least}")
    return torch.tensor(given, dtype=torch.float32)


def shares_of(labels: Labels | SoftLabels, num_classes: int, smoothing: float = 0.0) -> SoftLabels:
    """Returns each class's share of the right answer, of which `smoothing` is spread over all classes."""
    shares = F.one_hot(labels, num_classes).float() if labels.ndim == 1 else labels
    return shares * (1 - smoothing) + smoothing / num_classes


def focal_loss(
    logits: Logits,
    labels: Labels | SoftLabels,
    gamma: float,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    samples: Tensor | None = None,
) -> Loss:
    """Returns cross-entropy in which each class's part is scaled by (1 - its probability) ** gamma: "Focal
    Loss" (Lin et al. 2017, arXiv:1708.02002).

    With gamma 0 it is `F.cross_entropy`, also in how `weight` (a number a class) enters the mean. `samples`
    are numbers by which the samples' own losses are multiplied.
    """
    log_shares = logits.float().log_softmax(dim=1)
    right = shares_of(labels, logits.shape[1], smoothing)
    parts = -right * (1 - log_shares.exp()) ** gamma * log_shares
    if samples is not None:
        parts = parts * samples[:, None]
    if weight is None:
        return parts.sum(dim=1).mean()
    total = weight[labels].sum() if labels.ndim == 1 else len(labels)
    return (parts * weight).sum() / total


def binary_cross_entropy(
    logits: Logits,
    labels: Labels | SoftLabels,
    smoothing: float = 0.0,
    threshold: float | None = None,
    weight: Tensor | None = None,
    samples: Tensor | None = None,
) -> Loss:
    """Returns the mean over classes and images of each class's own yes or no: "ResNet strikes back" (Wightman
    et al. 2021, arXiv:2110.00476).

    With a `threshold` every class whose share of a mixed label lies above it counts as wholly right.
    `weight` is a number a class, `samples` one a sample.
    """
    right = shares_of(labels, logits.shape[1], smoothing)
    if threshold is not None:
        right = (right > threshold).to(right.dtype)
    if samples is not None:
        weight = samples[:, None] * (torch.ones_like(right) if weight is None else weight)
    return F.binary_cross_entropy_with_logits(logits.float(), right, weight=weight)


def weights_of_classes(counts: Tensor, kind: Literal["auto", "effective"]) -> Tensor:
    """Returns a weight a class from the numbers of training images, so that their mean over the images is 1.

    `auto`: in inverse proportion, N / (classes * count), as scikit-learn's "balanced". `effective`: by the
    effective number of images, (1 - beta ** count) / (1 - beta). A class without images has weight 0.
    """
    counts = counts.double()
    each = counts if kind == "auto" else (1 - EFFECTIVE_BETA**counts) / (1 - EFFECTIVE_BETA)
    weights = torch.where(counts > 0, 1 / each.clamp_min(1e-12), torch.zeros_like(each))
    return (weights * counts.sum() / (weights * counts).sum()).float()
