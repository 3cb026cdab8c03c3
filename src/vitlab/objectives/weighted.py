"""Metrics of images that count several times or not at all: what a bootstrap asks a thousand times over, many
drawings at once.

A `Weighted` takes weights [images, drawings] and returns a number a drawing; nan where it is not defined.
With all weights 1 it is the metric of `metrics.py` by the same name. Labels are one class an image [images],
or for curves, a yes or no a class [images, classes].
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vitlab.objectives.metrics import f1, precision, recall, specificity
from vitlab.objectives.reliability import NUM_BINS
from vitlab.shapes import Labels, Logits

Weighted = Callable[[Tensor], Tensor]

OfCounts = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Takes true and false positives, true and false negatives."""


def mean_of(values: Tensor) -> Weighted:
    """Returns the mean of a value an image."""
    values = values.float()
    return lambda weights: values @ weights / weights.sum(dim=0)


def top_k(probabilities: Tensor, labels: Tensor, k: int) -> Tensor:
    """Tells for each image whether its class is among the `k` most probable."""
    return (probabilities.topk(k, dim=1).indices == labels.long()[:, None]).any(dim=1)


def _sums_by(place: Tensor, weights: Tensor, count: int) -> Tensor:
    """Returns the sum of weights by the images' places: [count, drawings]."""
    return torch.zeros(count, weights.shape[1], dtype=weights.dtype).index_add_(0, place.long(), weights)


class Counts:
    """How often each class was right, was said and was true, for weighted images."""

    def __init__(self, probabilities: Tensor, labels: Tensor):
        self.num_classes = probabilities.shape[1]
        self.said, self.labels = probabilities.argmax(dim=1), labels.long()

    def __call__(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        right = self.said == self.labels
        return (
            _sums_by(self.labels[right], weights[right], self.num_classes),
            _sums_by(self.said, weights, self.num_classes),
            _sums_by(self.labels, weights, self.num_classes),
        )

    def mean_over_classes(self, number: OfCounts) -> Weighted:
        """Returns the mean of a number over the classes that have images."""

        def of(weights: Tensor) -> Tensor:
            right, said, true = self(weights)
            others = weights.sum(dim=0) - said - true + right
            values = number(right, said - right, others, true - right)
            return torch.where(true > 0, values, torch.nan).nanmean(dim=0)

        return of

    def cohen_kappa(self, weights: Tensor) -> Tensor:
        """Returns agreement beyond chance, -1 to 1: "A Coefficient of Agreement for Nominal Scales" (Cohen
        1960)."""
        right, said, true = self(weights)
        total = weights.sum(dim=0)
        by_chance = (said * true).sum(dim=0) / total**2
        return (right.sum(dim=0) / total - by_chance) / (1 - by_chance)

    def mcc(self, weights: Tensor) -> Tensor:
        """Returns Matthews' correlation for several classes, -1 to 1 (Gorodkin 2004); 0 where a side has one
        class only, as torchmetrics."""
        right, said, true = (each.double() for each in self(weights))
        total = weights.sum(dim=0).double()
        both = right.sum(dim=0) * total - (said * true).sum(dim=0)
        spread = (total**2 - (said**2).sum(dim=0)) * (total**2 - (true**2).sum(dim=0))
        return torch.where(spread > 0, both / spread.clamp_min(1e-12).sqrt(), 0.0).float()


def ece(probabilities: Tensor, labels: Tensor) -> Weighted:
    """Returns the expected calibration error, 0 to 1, in bins of equal width (Guo et al. 2017,
    arXiv:1706.04599)."""
    surely, said = probabilities.max(dim=1)
    place = (surely * NUM_BINS).long().clamp_max(NUM_BINS - 1)
    gap = (surely - (said == labels).float())[:, None]
    return lambda weights: _sums_by(place, weights * gap, NUM_BINS).abs().sum(dim=0) / weights.sum(dim=0)


class Curve:
    """One class against all others by its score: the area under the ROC curve and the average precision.

    Images of one score are one step of the curve.
    """

    def __init__(self, scores: Tensor, is_positive: Tensor):
        scores, self.order = scores.float().sort(descending=True)
        is_positive = is_positive.bool()[self.order]
        self.positive = is_positive.nonzero()[:, 0]
        ends = scores.unique_consecutive(return_counts=True)[1].cumsum(0)
        step = torch.searchsorted(ends, self.positive, right=True)
        self.upto, self.before = ends[step], torch.cat([ends.new_zeros(1), ends])[step]
        counted = torch.cat([ends.new_zeros(1), is_positive.cumsum(0)])
        self.theirs_upto, self.theirs_before = counted[self.upto], counted[self.before]

    def _sums(self, weights: Tensor) -> tuple[Tensor, ...]:
        """Returns of the positive images: weights, and sums of all weights, and of positive ones, up to
        before their steps and to their ends."""
        weights = weights[self.order]
        own, empty = weights[self.positive], weights.new_zeros(1, weights.shape[1])
        everyone = torch.cat([empty, weights.cumsum(dim=0)])
        theirs = torch.cat([empty, own.cumsum(dim=0)])
        return (
            own,
            everyone[self.before],
            everyone[self.upto],
            theirs[self.theirs_before],
            theirs[self.theirs_upto],
        )

    def auroc(self, weights: Tensor) -> Tensor:
        """Returns the share of pairs whose positive image has the higher score; equal scores are half of
        one."""
        own, before, upto, theirs_before, theirs_upto = self._sums(weights)
        positive = own.sum(dim=0)
        negative = weights.sum(dim=0) - positive
        above = (before - theirs_before + upto - theirs_upto) / 2  # negatives, those of one score by half
        area = 1 - (own * above).sum(dim=0) / (positive * negative)
        return torch.where((positive > 0) & (negative > 0), area, torch.nan)

    def average_precision(self, weights: Tensor) -> Tensor:
        """Returns the mean over positive images of the precision at their score."""
        own, _, upto, _, theirs_upto = self._sums(weights)
        positive = own.sum(dim=0)
        value = (own * theirs_upto / upto.clamp_min(1e-12)).sum(dim=0) / positive
        return torch.where((positive > 0) & (positive < weights.sum(dim=0)), value, torch.nan)


def curves(probabilities: Tensor, labels: Tensor) -> list[Curve | None]:
    """Returns the curve of each class; None for one that no image has, or all have."""
    classes = torch.arange(probabilities.shape[1])
    is_positive = labels[:, None] == classes if labels.ndim == 1 else labels.bool()
    some = is_positive.any(dim=0) & ~is_positive.all(dim=0)
    return [
        Curve(probabilities[:, index], is_positive[:, index]) if some[index] else None for index in classes
    ]


def mean_over_curves(
    probabilities: Tensor, labels: Tensor, number: Callable[[Curve, Tensor], Tensor]
) -> Weighted:
    """Returns the mean of a number over the curves of classes, as far as it is defined."""
    found = [curve for curve in curves(probabilities, labels) if curve is not None]

    def of(weights: Tensor) -> Tensor:
        if not found:
            return weights.new_full((weights.shape[1],), torch.nan)
        return torch.stack([number(curve, weights) for curve in found]).nanmean(dim=0)

    return of


CURVES = ("auroc", "average_precision")
"""Metrics that take a pass over all images for each class."""


def of_classes(logits: Logits, labels: Labels) -> dict[str, Callable[[], Weighted]]:
    """Returns how each metric of single-label classification is made for these images, by name."""
    logits, labels = logits.float(), labels.long()
    shares, counts = logits.softmax(dim=1), Counts(logits, labels)
    of_right = shares.gather(1, labels[:, None])[:, 0]
    surprise = -logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    return {
        "loss": lambda: mean_of(surprise),
        "nll": lambda: mean_of(surprise),
        "brier": lambda: mean_of(shares.square().sum(dim=1) - 2 * of_right + 1),
        "accuracy": lambda: mean_of(counts.said == labels),
        "accuracy_top5": lambda: mean_of(top_k(shares, labels, 5)),
        "balanced_accuracy": lambda: counts.mean_over_classes(recall),
        "recall_macro": lambda: counts.mean_over_classes(recall),
        "precision_macro": lambda: counts.mean_over_classes(precision),
        "f1_macro": lambda: counts.mean_over_classes(f1),
        "specificity_macro": lambda: counts.mean_over_classes(specificity),
        "cohen_kappa": lambda: counts.cohen_kappa,
        "mcc": lambda: counts.mcc,
        "ece": lambda: ece(shares, labels),
        "auroc": lambda: mean_over_curves(shares, labels, Curve.auroc),
        "average_precision": lambda: mean_over_curves(shares, labels, Curve.average_precision),
    }
