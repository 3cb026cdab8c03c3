"""The metrics that `metrics=[...]` chooses from where images have several labels: torchmetrics' own, by the
names that papers use.

A label that no image has, or that all of them have where a curve is asked for, has no value and is left out
of the mean.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MultilabelAUROC,
    MultilabelAveragePrecision,
    MultilabelExactMatch,
    MultilabelF1Score,
    MultilabelHammingDistance,
    MultilabelPrecision,
    MultilabelPrecisionRecallCurve,
    MultilabelRankingAveragePrecision,
    MultilabelRecall,
    MultilabelStatScores,
)
from torchmetrics.utilities import dim_zero_cat
from torchmetrics.wrappers import LambdaInputTransformer

from vitlab.objectives.metrics import Kind, f1, precision, recall, specificity


class MeanOverLabels(MultilabelStatScores):
    """The mean of a number over the labels that some image has, with a yes from a probability of 0.5 on."""

    def __init__(self, num_labels: int, number: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]):
        super().__init__(num_labels, average="none")
        self.number = number

    def update(self, logits: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        super().update(logits.float().sigmoid(), labels)

    def compute(self) -> Tensor:
        """Returns the mean, from 0 to 1; nan where no image has a label."""
        true_positive, false_positive, true_negative, false_negative, count = super().compute().double().T
        values = self.number(true_positive, false_positive, true_negative, false_negative)
        return values[count > 0].mean().float()


class _MeanOfCurves(MultilabelPrecisionRecallCurve):
    """The mean over the labels that some image has, and some has not, of a number that all probabilities of a
    label give."""

    def __init__(self, num_labels: int):
        super().__init__(num_labels, average="none")  # type: ignore[call-arg]  # of the metric below it

    def update(self, logits: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        super().update(logits.float().sigmoid(), labels)

    def of_each(self) -> Tensor:
        """Returns the number of each label, nan where it has none."""
        labels = dim_zero_cat(self.target)
        counts = labels.sum(dim=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the labels that are left out
            values = super().compute()
        return torch.where((counts > 0) & (counts < len(labels)), values, torch.nan)  # type: ignore[arg-type]

    def compute(self) -> Tensor:  # type: ignore[override]
        """Returns the mean, from 0 to 1; nan where no label has a value."""
        return self.of_each().nanmean()


class MeanAUROC(_MeanOfCurves, MultilabelAUROC):
    """The area under the ROC curve of each label, as a mean over the labels."""


class MeanAveragePrecision(_MeanOfCurves, MultilabelAveragePrecision):
    """The average precision of each label, as a mean over the labels: mAP."""


def _of_probabilities(make: Callable[[int], Metric]) -> Callable[[int], Metric]:
    """Returns the same metric for scores: torchmetrics itself takes those that happen to lie in 0 to 1 for
    probabilities."""
    return lambda count: LambdaInputTransformer(
        make(count), transform_pred=lambda logits: logits.float().sigmoid()
    )


def _over_labels(number: Callable[..., Tensor]) -> Callable[[int], Metric]:
    return lambda count: MeanOverLabels(count, number)


OF_LABELS: dict[str, Kind] = {
    "average_precision": Kind(MeanAveragePrecision),
    "auroc": Kind(MeanAUROC),
    "f1_macro": Kind(_over_labels(f1)),
    "precision_macro": Kind(_over_labels(precision)),
    "recall_macro": Kind(_over_labels(recall)),
    "specificity_macro": Kind(_over_labels(specificity)),
    "f1_micro": Kind(_of_probabilities(lambda count: MultilabelF1Score(count, average="micro"))),
    "precision_micro": Kind(_of_probabilities(lambda count: MultilabelPrecision(count, average="micro"))),
    "recall_micro": Kind(_of_probabilities(lambda count: MultilabelRecall(count, average="micro"))),
    "exact_match": Kind(_of_probabilities(lambda count: MultilabelExactMatch(count)), is_share=True),
    "hamming": Kind(_of_probabilities(lambda count: MultilabelHammingDistance(count, average="micro"))),
    "ranking_precision": Kind(_of_probabilities(lambda count: MultilabelRankingAveragePrecision(count))),
}
"""By the name under which they are logged: `average_precision` as `val/average_precision`."""
