"""What a test of a classifier shows beyond its accuracy: each class's, the confusion matrix, and the most
confident mistakes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import CatMetric

from vitlab.data.source import Batch
from vitlab.gathering import of_all_processes
from vitlab.pictures.drawing import Picture, fit, photograph
from vitlab.pictures.figures import confusion_figure, drawn, per_class_figure
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


class ClassificationReport:
    """Gives `accuracy_of/CLASS` of every class that has images; draws `confusion`, `per_class` and
    `mistakes`."""

    def __init__(
        self,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        num_mistakes: int,
        device: torch.device,
    ):
        self.class_names = tuple(class_names)
        self.mean, self.std = list(mean), list(std)
        self.num_mistakes = num_mistakes
        # true and predicted by turns: a matrix of counts has 25 million cells for 5,000 classes, filled anew
        # at each batch
        self.seen = CatMetric().to(device)
        self.mistakes: list[Mistake] = []

    def add(self, outputs: Tensor, batch: Batch) -> None:
        predicted = outputs.argmax(dim=1)
        probability = outputs.float().softmax(dim=1).gather(1, predicted[:, None]).squeeze(1)
        self.seen.update(torch.stack([batch.labels, predicted], dim=1).flatten())
        wrong = (predicted != batch.labels).nonzero().flatten()
        worst = wrong[probability[wrong].argsort(descending=True)[: self.num_mistakes]]
        for index in worst.tolist():
            picture = photograph(batch.images[index].float(), self.mean, self.std)
            self.mistakes.append(
                Mistake(float(probability[index]), int(batch.labels[index]), int(predicted[index]), picture)
            )
        self.mistakes = self._worst(self.mistakes)

    def _worst(self, mistakes: list[Mistake]) -> list[Mistake]:
        return sorted(mistakes, key=lambda mistake: -mistake.probability)[: self.num_mistakes]

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        true, predicted = self.seen.compute().long().view(-1, 2).cpu().unbind(1)
        images, correct = (
            labels.bincount(minlength=len(self.class_names)) for labels in (true, true[true == predicted])
        )
        accuracy = correct / images  # nan where there is no image, and no number is given
        mistakes = [mistake for each in of_all_processes(self.mistakes) for mistake in each]
        names = self.class_names
        numbers = {
            f"accuracy_of/{plain(names[index])}": float(accuracy[index])
            for index in images.nonzero().flatten()
        }
        if dist.is_available() and dist.is_initialized() and dist.get_rank():
            return numbers, {}
        pictures = {
            "confusion": drawn(confusion_figure(true, predicted, names)),
            "per_class": drawn(per_class_figure(accuracy, float(correct.sum() / images.sum()), names)),
        }
        if mistakes := self._worst(mistakes):
            captions = [
                [Text(f"true: {names[m.true]}"), Text(f"said: {names[m.predicted]}, {m.probability:.0%}")]
                for m in mistakes
            ]
            pictures["mistakes"] = gallery(
                [fit(m.picture, MISTAKE_SIDE) for m in mistakes], captions, title=MISTAKES
            )
        return numbers, pictures
