"""What a test of a classifier shows beyond its accuracy: each class's, the confusion matrix, and the most
confident mistakes."""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from vitlab.data.source import Batch
from vitlab.gathering import of_all_processes
from vitlab.objectives.calibration import Calibration
from vitlab.objectives.examiner import Exam
from vitlab.objectives.per_class import of_each_class
from vitlab.objectives.reliability import Bins, by_confidence, error_by_chance, quality
from vitlab.pictures.drawing import Picture, fit, photograph
from vitlab.pictures.figures import MAX_BARS, confusion_figure, drawn, reliability_figure
from vitlab.pictures.per_class import per_class_figure
from vitlab.pictures.sheets import Text, gallery
from vitlab.words import plain

MISTAKE_SIDE = 160
"""Pixels of a mistake's longer side, or nearly so: its own pixels stay whole."""


MISTAKES = "The most confident mistakes of the test: what it is, what the model said, and how surely"


class Mistake(NamedTuple):
    """A wrong prediction: its probability, both classes, and the picture."""

    probability: float
    true: int
    predicted: int
    picture: Picture


class ClassificationExaminer:
    """Gives `accuracy_of/CLASS` of every class that has images; draws `confusion`, `per_class`,
    `reliability` and `mistakes`."""

    def __init__(self, exam: Exam, calibration: Calibration | None = None):
        self.exam = exam
        self.calibration = calibration
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.mistakes: list[Mistake] = []

    def add(self, outputs: Tensor, batch: Batch) -> None:
        predicted = outputs.argmax(dim=1)
        probability = outputs.float().softmax(dim=1).gather(1, predicted[:, None]).squeeze(1)
        self.seen.append((outputs.float().cpu(), batch.labels.cpu()))
        wrong = (predicted != batch.labels).nonzero().flatten()
        worst = wrong[probability[wrong].argsort(descending=True)[: self.exam.num_mistakes]]
        for index in worst.tolist():
            picture = photograph(batch.images[index].float(), self.exam.mean, self.exam.std)
            self.mistakes.append(
                Mistake(float(probability[index]), int(batch.labels[index]), int(predicted[index]), picture)
            )
        self.mistakes = self._worst(self.mistakes)

    def _worst(self, mistakes: list[Mistake]) -> list[Mistake]:
        return sorted(mistakes, key=lambda mistake: -mistake.probability)[: self.exam.num_mistakes]

    def _reliability(self, logits: Tensor, labels: Tensor) -> tuple[Bins, Bins | None]:
        """Returns confidence against accuracy as the model says it, and after scaling."""
        plain_bins = by_confidence(logits.softmax(dim=1), labels)
        if self.calibration is None:
            return plain_bins, None
        return plain_bins, by_confidence((logits / self.calibration.temperature).softmax(dim=1), labels)

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        seen = [pair for each in of_all_processes(self.seen) for pair in each]
        logits, true = (torch.cat(each) for each in zip(*seen, strict=True))
        predicted = logits.argmax(dim=1)
        images, correct = (
            labels.bincount(minlength=len(self.exam.class_names))
            for labels in (true, true[true == predicted])
        )
        accuracy = correct / images  # nan where there is no image, and no number is given
        mistakes = [mistake for each in of_all_processes(self.mistakes) for mistake in each]
        names = self.exam.class_names
        numbers = {
            f"accuracy_of/{plain(names[index])}": float(accuracy[index])
            for index in images.nonzero().flatten().tolist()
        }
        numbers |= quality(logits, true)
        numbers["ece_by_chance"] = error_by_chance(logits.softmax(dim=1))[0]
        if self.calibration:
            numbers |= self.calibration.held_out(logits, true)
        if dist.is_available() and dist.is_initialized() and dist.get_rank():
            return numbers, {}
        together = f"all classes together: accuracy {float(correct.sum() / images.sum()):.2f}"
        pictures = {
            "confusion": drawn(confusion_figure(true, predicted, names)),
            "per_class": drawn(per_class_figure(of_each_class(logits, true, MAX_BARS), names, together)),
        }
        pictures["reliability"] = drawn(reliability_figure(*self._reliability(logits, true)))
        if mistakes := self._worst(mistakes):
            captions = [
                [Text(f"true: {names[m.true]}"), Text(f"said: {names[m.predicted]}, {m.probability:.0%}")]
                for m in mistakes
            ]
            pictures["mistakes"] = gallery(
                [fit(m.picture, MISTAKE_SIDE) for m in mistakes], captions, title=MISTAKES
            )
        return numbers, pictures
