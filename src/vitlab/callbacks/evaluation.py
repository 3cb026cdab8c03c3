"""What a test says beyond its accuracy: per-class accuracy, the confusion matrix, and the most confident mistakes."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import CatMetric

from vitlab.classifier import of_all_processes
from vitlab.data.source import Batch
from vitlab.insight.pictures.drawing import Picture, fit, photograph, png
from vitlab.insight.pictures.figures import confusion_figure, drawn, per_class_figure
from vitlab.insight.pictures.sheets import Text, gallery
from vitlab.loggers import log_picture
from vitlab.words import plain

MISTAKE_SIDE = 160
"""Pixels of a mistake's longer side, or nearly so: its own pixels stay whole."""


class Mistake(NamedTuple):
    """A wrong prediction: its probability, both classes, and the picture."""

    probability: float
    true: int
    predicted: int
    picture: Picture


class EvaluationReport(pl.Callback):
    """Logs `test/accuracy_of/<class>` of every class that has images.

    Draws `test/confusion`, `test/per_class` and `test/mistakes` to TensorBoard and `figures_dir`.
    """

    def __init__(self, figures_dir: str, num_mistakes: int = 24):
        if num_mistakes < 0:
            raise ValueError(f"callbacks.evaluation.num_mistakes={num_mistakes} must be 0 or more")
        self.figures_dir = Path(figures_dir)
        self.num_mistakes = num_mistakes

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        data: Any = cast(Any, trainer).datamodule
        self.class_names: tuple[str, ...] = data.class_names
        self.mean, self.std = data.mean, data.std
        # true and predicted by turns: a matrix of counts has 25 million cells for 5,000 classes, filled anew at each batch
        self.seen = CatMetric().to(pl_module.device)
        self.mistakes: list[Mistake] = []

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Tensor, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        predicted = outputs.argmax(dim=1)
        probability = outputs.float().softmax(dim=1).gather(1, predicted[:, None]).squeeze(1)
        self.seen.update(torch.stack([batch.labels, predicted], dim=1).flatten())
        wrong = (predicted != batch.labels).nonzero().flatten()
        worst = wrong[probability[wrong].argsort(descending=True)[: self.num_mistakes]]
        for index in worst.tolist():
            picture = photograph(batch.images[index].float(), self.mean, self.std)
            self.mistakes.append(Mistake(float(probability[index]), int(batch.labels[index]), int(predicted[index]), picture))
        self.mistakes = self._worst(self.mistakes)

    def _worst(self, mistakes: list[Mistake]) -> list[Mistake]:
        return sorted(mistakes, key=lambda mistake: -mistake.probability)[: self.num_mistakes]

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        true, predicted = self.seen.compute().long().view(-1, 2).cpu().unbind(1)
        images, correct = (labels.bincount(minlength=len(self.class_names)) for labels in (true, true[true == predicted]))
        accuracy = correct / images  # nan where there is no image, and no number is logged
        mistakes = [mistake for each in of_all_processes(self.mistakes) for mistake in each]
        self._log(
            trainer, {f"test/accuracy_of/{plain(self.class_names[index])}": float(accuracy[index]) for index in images.nonzero().flatten()}
        )
        if not trainer.is_global_zero:
            return
        self._show(trainer, "confusion", drawn(confusion_figure(true, predicted, self.class_names)))
        self._show(trainer, "per_class", drawn(per_class_figure(accuracy, float(correct.sum() / images.sum()), self.class_names)))
        if mistakes := self._worst(mistakes):
            names = self.class_names
            captions = [[Text(f"true: {names[m.true]}"), Text(f"said: {names[m.predicted]}, {m.probability:.0%}")] for m in mistakes]
            self._show(trainer, "mistakes", gallery([fit(m.picture, MISTAKE_SIDE) for m in mistakes], captions))

    def _log(self, trainer: pl.Trainer, numbers: dict[str, float]) -> None:
        """Logs at once what every process knows; `log_dict` takes 0.6 ms for each of thousands of classes."""
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in numbers.items()})
        for logger in trainer.loggers:
            logger.log_metrics(numbers, trainer.global_step)
            logger.save()

    def _show(self, trainer: pl.Trainer, name: str, picture: Picture) -> None:
        log_picture(trainer.loggers, self.figures_dir, f"test/{name}", png(picture), trainer.global_step)
