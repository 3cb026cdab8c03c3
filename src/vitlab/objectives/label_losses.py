"""Losses of several labels an image: each is a yes or no of its own, which mixing may make a share."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitlab.shapes import Logits, Loss, ManyLabels, SoftLabels

PositiveWeights = list[float] | Literal["auto"] | None


def smoothed(labels: ManyLabels | SoftLabels, smoothing: float) -> SoftLabels:
    """Returns labels of which `smoothing` is spread over yes and no alike: 0.1 makes 0.95 of 1."""
    return labels.float() * (1 - smoothing) + smoothing / 2


def labels_loss(
    logits: Logits,
    labels: ManyLabels | SoftLabels,
    smoothing: float = 0.0,
    positive_weight: Tensor | None = None,
) -> Loss:
    """Returns binary cross-entropy, the mean over images and labels; `positive_weight` (a number a label)
    multiplies what each yes costs, as `pos_weight` of torch."""
    right = smoothed(labels, smoothing)
    return F.binary_cross_entropy_with_logits(logits.float(), right, pos_weight=positive_weight)


def asymmetric_loss(
    logits: Logits,
    labels: ManyLabels | SoftLabels,
    gamma_negative: float,
    gamma_positive: float,
    clip: float,
    smoothing: float = 0.0,
    positive_weight: Tensor | None = None,
) -> Loss:
    """Returns the mean over images and labels of "Asymmetric Loss For Multi-Label Classification" (Ridnik et
    al. 2021, arXiv:2009.14119).

    What the model is sure of counts less, by (1 - its probability) ** gamma, with a gamma of its own for yes
    and no; a no whose probability of a yes is below `clip` counts nothing.
    """
    right, yes = smoothed(labels, smoothing), logits.float().sigmoid()
    no = (1 - yes + clip).clamp(max=1.0)
    of_yes = right * yes.clamp(min=1e-8).log()
    if positive_weight is not None:
        of_yes = of_yes * positive_weight
    surprise = of_yes + (1 - right) * no.clamp(min=1e-8).log()
    certainty = yes * right + no * (1 - right)
    gamma = gamma_positive * right + gamma_negative * (1 - right)
    return -(surprise * (1 - certainty) ** gamma).mean()


def positive_weights(labels: ManyLabels) -> Tensor:
    """Returns for each label how many images lack it for one that has it, so that both sides weigh the same;
    1 for one that no image has."""
    yes = labels.sum(dim=0, dtype=torch.float64)
    return torch.where(yes > 0, (len(labels) - yes) / yes.clamp_min(1), torch.ones_like(yes)).float()
