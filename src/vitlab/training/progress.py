"""Progress for people who read a log: plain lines where Lightning's bar would be no bar."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from vitlab.uncertainty import likely_range

log = logging.getLogger(__name__)


def _said(name: str, value: float, shares: Sequence[str], validated: int | None) -> str:
    """Returns a metric in words; a share that was measured on `validated` images with its 95 % interval."""
    part, _, metric = name.partition("/")
    if part != "val" or metric not in shares or not validated:
        return f"{name} {value:.4f}"
    low, high = likely_range(value, validated)
    return f"{name} {value:.4f} (95 %: {low:.3f} to {high:.3f})"


class ProgressLines(pl.Callback):
    """Writes a line at the end of an epoch, at most one in `every_seconds`, and one for the last."""

    def __init__(self, every_seconds: float = 10.0):
        self.every_seconds = every_seconds
        self._start = self._last = 0.0
        self._validated: int | None = None  # images of a validation since the last epoch's end

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._start = self._last = time.monotonic()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._validated = 0

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, *where: int
    ) -> None:
        self._validated = (self._validated or 0) + len(batch.labels) * trainer.world_size

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        validated, self._validated = self._validated, None
        now = time.monotonic()
        is_last = trainer.global_step >= trainer.max_steps or trainer.should_stop
        if not trainer.is_global_zero or (now - self._last < self.every_seconds and not is_last):
            return
        self._last = now
        done = trainer.global_step / trainer.max_steps
        left = (now - self._start) * (1.0 - done) / done
        objective = pl_module.objective
        shown = [f"train/{name}" for name in ("loss", *objective.headline)]
        shown += [f"val/{name}" for name in ("loss", *objective.headline)] if validated else []
        logged = trainer.callback_metrics
        known = {name: float(logged[name]) for name in shown if name in logged}
        metrics = "  ".join(_said(name, value, objective.shares, validated) for name, value in known.items())
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        step = f"step {trainer.global_step}/{trainer.max_steps}"
        log.info("%s  %s  %s  %.0f s left", epoch, step, metrics, left)
