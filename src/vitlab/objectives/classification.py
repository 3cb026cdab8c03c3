"""One label an image, learned by cross-entropy."""

from collections.abc import Sequence
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from vitlab.data.source import Batch
from vitlab.objectives.objective import Answer, Examiner, Objective, Outcome
from vitlab.objectives.tally import Tally
from vitlab.shapes import Labels, Logits, SoftLabels


def is_correct(logits: Logits, labels: Labels | SoftLabels) -> Tensor:
    """Tells for each sample whether the highest score is that of its label, or of the heaviest part of a
    mixed one."""
    truth = labels if labels.ndim == 1 else labels.argmax(dim=1)
    return logits.argmax(dim=1) == truth


def most_probable(logits: Logits, class_names: Sequence[str], top_k: int) -> list[Answer]:
    """Returns the `top_k` most probable classes of each row with their probabilities, by softmax."""
    best = logits.float().softmax(dim=1).topk(top_k, dim=1)
    answers: list[Answer] = []
    for values, classes in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        answers.append(
            [(class_names[int(label)], value) for label, value in zip(classes, values, strict=True)]
        )
    return answers


class Classification(Objective):
    """One of `num_outputs` classes an image, by cross-entropy with `label_smoothing`, or by a `criterion`
    (logits, labels) -> loss.

    The metrics are accuracy and, of many classes, top 5. Validation and test measure cross-entropy, whatever
    is trained by.
    """

    headline = ("accuracy",)
    shares = ("accuracy", "accuracy_top5")
    pictures = ("mistakes", "confusion", "per_class")
    names_classes = takes_mixed_labels = True

    def __init__(
        self,
        num_outputs: int,
        label_smoothing: float,
        monitor: str,
        mode: Literal["min", "max"],
        criterion: nn.Module | None = None,
    ):
        super().__init__(num_outputs, monitor, mode)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"objective.label_smoothing={label_smoothing} must lie from 0 to below 1")
        if criterion is not None and label_smoothing:
            raise ValueError(
                f"objective.label_smoothing={label_smoothing} has no effect beside objective.criterion, which"
                " has its own; objective.label_smoothing=0 would work"
            )
        self.label_smoothing = label_smoothing
        self.criterion = criterion

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits = self.outputs(model, batch.images)
        if self.criterion is not None:
            return Outcome(self._by_criterion(logits, batch.labels), logits)
        return Outcome(F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing), logits)

    def _by_criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns another library's loss. Raises ValueError where it does not take labels of this kind, or
        gives no single number."""
        assert self.criterion is not None
        kind = "whole numbers" if labels.ndim == 1 else "shares of classes, as MixUp and CutMix make them"
        try:
            loss = self.criterion(logits, labels)
        except (RuntimeError, TypeError, IndexError, AssertionError) as error:
            what = " ".join(str(error).split())[:160]
            raise ValueError(
                f"objective.criterion: {type(self.criterion).__name__} does not take labels that are {kind}"
                f" ({what})"
            ) from error
        if loss.ndim:
            raise ValueError(
                f"objective.criterion: {type(self.criterion).__name__} gives {list(loss.shape)}; reduction:"
                " mean would work"
            )
        return loss

    def evaluate(self, model: nn.Module, batch: Batch) -> Outcome:
        """Evaluates by cross-entropy without label smoothing."""
        logits = self.outputs(model, batch.images)
        return Outcome(F.cross_entropy(logits, batch.labels), logits)

    def metrics(self) -> dict[str, Metric]:
        """Returns accuracy, and with more than five classes that of the five most probable ones."""
        known: dict[str, Metric] = {"accuracy": MulticlassAccuracy(self.num_outputs, average="micro")}
        if self.num_outputs > 5:
            known["accuracy_top5"] = MulticlassAccuracy(self.num_outputs, top_k=5, average="micro")
        return known

    def tally(self) -> Tally:
        return Tally({"accuracy": is_correct})

    def examiner(
        self,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        num_mistakes: int,
        device: Any,
    ) -> Examiner:
        """Returns what collects per-class accuracy, the confusion matrix and the most confident mistakes."""
        from vitlab.objectives.classification_report import ClassificationReport

        return ClassificationReport(class_names, mean, std, num_mistakes, device)

    def answers(self, outputs: Tensor, class_names: Sequence[str], top_k: int) -> list[Answer]:
        """Returns the most probable classes of each row with their probabilities."""
        return most_probable(outputs, class_names, top_k)
