"""Progress for people who read a log: plain lines where Lightning's bar would be no bar."""

import logging
import time
from typing import Any

import pytorch_lightning as pl

from vitlab.uncertainty import likely_range

log = logging.getLogger(__name__)


class ProgressLines(pl.Callback):
    """Writes one line at the end of an epoch, at most one in `every_seconds`, and always one for the last epoch."""

    def __init__(self, every_seconds: float = 10.0):
        self.every_seconds = every_seconds
        self._start = self._last = 0.0
        self._validated: int | None = None  # images of a validation since the last epoch's end

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._start = self._last = time.monotonic()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._validated = 0

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._validated = (self._validated or 0) + len(batch.labels) * trainer.world_size

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        validated, self._validated = self._validated, None
        now = time.monotonic()
        is_last = trainer.global_step >= trainer.max_steps
        if not trainer.is_global_zero or (now - self._last < self.every_seconds and not is_last):
            return
        self._last = now
        done = trainer.global_step / trainer.max_steps
        left = (now - self._start) * (1.0 - done) / done
        shown = ["train/loss", "train/accuracy", *(["val/loss", "val/accuracy"] if validated else [])]
        known = {name: float(trainer.callback_metrics[name]) for name in shown if name in trainer.callback_metrics}
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in known.items())
        if validated and "val/accuracy" in known:
            low, high = likely_range(known["val/accuracy"], validated)
            metrics += f" (95 %: {low:.3f} to {high:.3f})"
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        log.info("%s  step %d/%d  %s  %.0f s left", epoch, trainer.global_step, trainer.max_steps, metrics, left)
