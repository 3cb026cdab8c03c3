"""The metrics that `metrics=[...]` chooses from: torchmetrics' own, by the names that papers use."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassCalibrationError,
    MulticlassCohenKappa,
    MulticlassMatthewsCorrCoef,
    MulticlassPrecisionRecallCurve,
    MulticlassStatScores,
)
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.wrappers import LambdaInputTransformer

from vitlab.objectives.reliability import NUM_BINS


def _softmax(logits: Tensor) -> Tensor:
    return logits.float().softmax(dim=1)


class MeanOverClasses(MulticlassStatScores):
    """The mean of a number over the classes that have images: a class without any has no value, and is left
    out."""

    def __init__(self, num_classes: int, number: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]):
        super().__init__(num_classes, average="none")
        self.number = number

    def compute(self) -> Tensor:
        """Returns the mean, from 0 to 1; nan where nothing was seen."""
        true_positive, false_positive, true_negative, false_negative, count = super().compute().double().T
        values = self.number(true_positive, false_positive, true_negative, false_negative)
        return values[count > 0].mean().float()


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Returns part / whole, and 0 where there is nothing of either."""
    return torch.where(whole > 0, part / whole.clamp_min(1), torch.zeros_like(part))


def recall(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
    """Returns which share of a class's images was found."""
    return _share(tp, tp + fn)


def precision(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
    """Returns which share of what was called a class is of it."""
    return _share(tp, tp + fp)


def f1(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
    """Returns the harmonic mean of precision and recall."""
    return _share(2 * tp, 2 * tp + fp + fn)


def specificity(tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> Tensor:
    """Returns which share of other classes' images was not called this class."""
    return _share(tn, tn + fp)


class _MeanOfCurves(MulticlassPrecisionRecallCurve):
    """The mean over the classes that have images, and others than theirs, of a number that all probabilities
    of a class give."""

    def __init__(self, num_classes: int):
        super().__init__(num_classes, average="none")  # type: ignore[call-arg]  # of the metric below it

    def update(self, logits: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        super().update(_softmax(logits), labels)

    def compute(self) -> Tensor:  # type: ignore[override]
        """Returns the mean, from 0 to 1; nan where no class has both."""
        counts = dim_zero_cat(self.target).bincount(minlength=self.num_classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the classes that are left out
            values = super().compute()
        return values[(counts > 0) & (counts < counts.sum())].mean()  # type: ignore[index]


class MeanAUROC(_MeanOfCurves, MulticlassAUROC):
    """The area under the ROC curve of each class against all others, as a mean over the classes."""


class MeanAveragePrecision(_MeanOfCurves, MulticlassAveragePrecision):
    """The average precision of each class against all others, as a mean over the classes."""


class NegativeLogLikelihood(Metric):
    """The mean of -log of the probability that the right class was given."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def _of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        return -logits.float().log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.total += self._of_each(logits, labels).double().sum()
        self.count += len(labels)

    def compute(self) -> Tensor:
        return (self.total / self.count).float()


class BrierScore(NegativeLogLikelihood):
    """The mean squared distance between the probabilities and the right answer, from 0 to 2: "Verification of
    Forecasts" (Brier 1950)."""

    def _of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        probabilities = _softmax(logits)
        right = probabilities.gather(1, labels[:, None]).squeeze(1)
        return probabilities.square().sum(dim=1) - 2 * right + 1


class Kind(NamedTuple):
    """How a metric of single-label classification is made for a number of classes, and whether it is a share
    of the images; `direction.mode_of` tells which way is better."""

    make: Callable[[int], Metric]
    is_share: bool = False
    least_classes: int = 2


def _over_classes(number: Callable[..., Tensor]) -> Callable[[int], Metric]:
    return lambda count: MeanOverClasses(count, number)


OF_CLASSES: dict[str, Kind] = {
    "accuracy": Kind(lambda count: MulticlassAccuracy(count, average="micro"), is_share=True),
    "accuracy_top5": Kind(
        lambda count: MulticlassAccuracy(count, top_k=5, average="micro"), is_share=True, least_classes=6
    ),
    "balanced_accuracy": Kind(_over_classes(recall)),
    "recall_macro": Kind(_over_classes(recall)),
    "precision_macro": Kind(_over_classes(precision)),
    "f1_macro": Kind(_over_classes(f1)),
    "specificity_macro": Kind(_over_classes(specificity)),
    "auroc": Kind(MeanAUROC),
    "average_precision": Kind(MeanAveragePrecision),
    "cohen_kappa": Kind(MulticlassCohenKappa),
    "mcc": Kind(MulticlassMatthewsCorrCoef),
    "ece": Kind(
        lambda count: LambdaInputTransformer(
            MulticlassCalibrationError(count, n_bins=NUM_BINS), transform_pred=_softmax
        )
    ),
    "nll": Kind(lambda count: NegativeLogLikelihood()),
    "brier": Kind(lambda count: BrierScore()),
}
"""By the name under which they are logged: `f1_macro` as `val/f1_macro` and `test/f1_macro`."""


def chosen_metrics(
    names: Sequence[str], catalogue: Mapping[str, Kind], num_outputs: int
) -> dict[str, Metric]:
    """Returns new metrics by name; those that need more classes than there are, are left out. Raises
    ValueError for a name that is none of the catalogue's."""
    for name in names:
        if name not in catalogue:
            raise ValueError(f"metrics: {name} is none of this objective's; known: {', '.join(catalogue)}")
    return {
        name: catalogue[name].make(num_outputs)
        for name in dict.fromkeys(names)
        if num_outputs >= catalogue[name].least_classes
    }
