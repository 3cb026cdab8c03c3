"""What a test says beyond its metrics: the numbers and pictures that the objective collects."""

from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from vitlab.data.source import Batch
from vitlab.loggers.tell import log_picture
from vitlab.objectives.examiner import Exam, Examiner
from vitlab.pictures.drawing import png


class Examination(pl.Callback):
    """Logs the numbers that the objective's examiner finds in a test, and draws its pictures to the dashboard
    and to `figures_dir`; of a classification, for one, `test/accuracy_of/CLASS` and `test/confusion`."""

    def __init__(self, figures_dir: str, num_mistakes: int = 24):
        if num_mistakes < 0:
            raise ValueError(f"callbacks.evaluation.num_mistakes={num_mistakes} must be 0 or more")
        self.figures_dir = Path(figures_dir)
        self.num_mistakes = num_mistakes
        self.examiner: Examiner | None = None
        self.bands: list[int] = []

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        data: Any = cast(Any, trainer).datamodule
        self.bands = list(data.bands_for_people) if len(data.mean) > 3 else []
        mean, std = ([values[band] for band in self.bands] or values for values in (data.mean, data.std))
        self.examiner = pl_module.objective.examiner(
            Exam(tuple(data.class_names), mean, std, self.num_mistakes, pl_module.model)
        )

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Tensor, batch: Batch, *where: int
    ) -> None:
        if self.examiner is not None:
            shown = batch._replace(images=batch.images[:, self.bands]) if self.bands else batch
            self.examiner.add(outputs, shown)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self.examiner is None:
            return
        numbers, pictures = self.examiner.finish()
        self._log(trainer, {f"test/{name}": value for name, value in numbers.items()})
        for name, picture in pictures.items():
            log_picture(trainer.loggers, self.figures_dir, f"test/{name}", png(picture), trainer.global_step)

    def _log(self, trainer: pl.Trainer, numbers: dict[str, float]) -> None:
        """Logs at once what every process knows; `log_dict` takes 0.6 ms for each of thousands of classes."""
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in numbers.items()})
        for logger in trainer.loggers:
            logger.log_metrics(numbers, trainer.global_step)
            logger.save()
