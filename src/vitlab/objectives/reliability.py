"""How far a classifier's confidence is from how often it is right."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vitlab.shapes import Labels, Logits, SoftLabels

NUM_BINS = 15
"""Bins of equal width for the expected calibration error, as in Guo et al. 2017 (arXiv:1706.04599)."""


class Bins(NamedTuple):
    """Images sorted by confidence into bins of equal width: how many, how sure on average and how often
    right, both from 0 to 1 and nan where a bin is empty: float64 [bins] each."""

    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error, from 0 to 1: how far confidence is from accuracy, as a mean over
        the images (Guo et al. 2017, arXiv:1706.04599)."""
        gaps = (self.confidence - self.accuracy).nan_to_num().abs()
        return float((gaps * self.count).sum() / self.count.sum())


def by_confidence(probabilities: SoftLabels, labels: Labels, num_bins: int = NUM_BINS) -> Bins:
    """Sorts images by the probability of their most probable class."""
    surely, said = probabilities.max(dim=1)
    place = (surely * num_bins).long().clamp_max(num_bins - 1)
    count = place.bincount(minlength=num_bins).double()
    sums = [
        torch.zeros(num_bins, dtype=torch.float64).index_add_(0, place, values.double())
        for values in (surely, said == labels)
    ]
    return Bins(count, sums[0] / count, sums[1] / count)


def error_by_chance(probabilities: SoftLabels, num_drawn: int = 200) -> tuple[float, float]:
    """Returns the calibration error of a model that is as sure of each of these images, and means it: the
    mean over drawings of what it is right on, and what 95 % of them stay below.

    "Increasing the Reliability of Reliability Diagrams" (Bröcker and Smith 2007).
    """
    surely = probabilities.max(dim=1).values.float()
    place = (surely * NUM_BINS).long().clamp_max(NUM_BINS - 1)
    generator, errors = torch.Generator().manual_seed(0), []
    for _ in range(num_drawn):
        gap = surely - (torch.rand(len(surely), generator=generator) < surely).float()
        sums = torch.zeros(NUM_BINS).index_add_(0, place, gap)
        errors.append(float(sums.abs().sum()) / len(surely))
    return sum(errors) / num_drawn, sorted(errors)[math.ceil(0.95 * num_drawn) - 1]


def quality(logits: Logits, labels: Labels) -> dict[str, float]:
    """Returns how good probabilities are: their negative log-likelihood in nats, Brier score (0 to 2) and
    expected calibration error (0 to 1)."""
    probabilities, right = logits.double().softmax(dim=1), labels.long()[:, None]
    of_right = probabilities.gather(1, right)[:, 0]
    brier = probabilities.square().sum(dim=1) - 2 * of_right + 1
    return {
        "nll": -float(logits.double().log_softmax(dim=1).gather(1, right).mean()),
        "brier": float(brier.mean()),
        "ece": by_confidence(probabilities, labels).error,
    }


def told_of_quality(which: str, logits: Logits, labels: Labels) -> str:
    """Says in a line how good probabilities are, and whether chance alone explains their calibration error;
    `which` says how they were made, such as "at temperature 1.2"."""
    found, (mean, most) = quality(logits, labels), error_by_chance(logits.softmax(dim=1))
    meant = "more than chance explains" if found["ece"] > most else "no more than chance explains"
    return (
        f"  {which}: ECE {found['ece']:.1%} (chance alone {mean:.1%}, up to {most:.1%}: {meant}), NLL"
        f" {found['nll']:.4f}, Brier {found['brier']:.4f}"
    )
