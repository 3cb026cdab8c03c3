"""Progress for people who read a log: plain lines where Lightning's bar would be no bar."""

import logging
import time
from typing import Any

import pytorch_lightning as pl

log = logging.getLogger(__name__)


class ProgressLines(pl.Callback):
    """Writes one line at the end of an epoch, at most one in `every_seconds`, and always one for the last epoch."""

    def __init__(self, every_seconds: float = 10.0):
        self.every_seconds = every_seconds
        self._start = self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._start = self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        now = time.monotonic()
        is_last = trainer.global_step >= trainer.max_steps
        if not trainer.is_global_zero or (now - self._last < self.every_seconds and not is_last):
            return
        self._last = now
        done = trainer.global_step / trainer.max_steps
        left = (now - self._start) * (1.0 - done) / done
        shown = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
        metrics = "  ".join(f"{name} {float(trainer.callback_metrics[name]):.4f}" for name in shown if name in trainer.callback_metrics)
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        log.info("%s  step %d/%d  %s  %.0f s left", epoch, trainer.global_step, trainer.max_steps, metrics, left)
