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
    """Tells for each sample whether the highest score is that of its label, or of the heaviest part of a mixed one."""
    truth = labels if labels.ndim == 1 else labels.argmax(dim=1)
    return logits.argmax(dim=1) == truth


def most_probable(logits: Logits, class_names: Sequence[str], top_k: int) -> list[Answer]:
    """Returns the `top_k` most probable classes of each row with their probabilities, by softmax."""
    best = logits.float().softmax(dim=1).topk(top_k, dim=1)
    answers: list[Answer] = []
    for values, classes in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        answers.append([(class_names[int(label)], value) for label, value in zip(classes, values, strict=True)])
    return answers


class Classification(Objective):
    """One of `num_outputs` classes an image, by cross-entropy with `label_smoothing`; the metrics are accuracy and, of many, top 5."""

    headline = ("accuracy",)
    shares = ("accuracy", "accuracy_top5")
    names_classes = takes_mixed_labels = True

    def __init__(self, num_outputs: int, label_smoothing: float, monitor: str, mode: Literal["min", "max"]):
        super().__init__(num_outputs, monitor, mode)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"objective.label_smoothing={label_smoothing} must lie from 0 to below 1")
        self.label_smoothing = label_smoothing

    def loss(self, model: nn.Module, batch: Batch) -> Outcome:
        logits = self.outputs(model, batch.images)
        return Outcome(F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing), logits)

    def evaluate(self, model: nn.Module, batch: Batch) -> Outcome:
        """Evaluates without label smoothing."""
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

    def examiner(self, class_names: Sequence[str], mean: Sequence[float], std: Sequence[float], num_mistakes: int, device: Any) -> Examiner:
        """Returns what collects per-class accuracy, the confusion matrix and the most confident mistakes."""
        from vitlab.objectives.classification_report import ClassificationReport

        return ClassificationReport(class_names, mean, std, num_mistakes, device)

    def answers(self, outputs: Tensor, class_names: Sequence[str], top_k: int) -> list[Answer]:
        """Returns the most probable classes of each row with their probabilities."""
        return most_probable(outputs, class_names, top_k)
