"""Stops a run whose loss or weights are no longer numbers, before anything of it is saved."""

import math
from typing import Any

import pytorch_lightning as pl
import torch


class Diverged(RuntimeError):
    """Training produced a loss that is not a finite number."""

    exit_status = 3


class StopWhenNotFinite(pl.Callback):
    """Raises `Diverged` within a logging interval of a loss that is not finite, and before a checkpoint."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.is_logging_step():
            self._check_training(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._check_training(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._check(trainer, "val/loss", float(trainer.callback_metrics["val/loss"]))

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if not all(parameter.isfinite().all() for parameter in pl_module.parameters()):
            self._check(trainer, "a weight", math.nan)

    def _check_training(self, trainer: pl.Trainer, pl_module: Any) -> None:
        # that of one process may be nan a step before the others'
        loss = torch.tensor(pl_module.tally.loss, device=pl_module.device)
        self._check(trainer, "train/loss", float(trainer.strategy.reduce(loss)))  # type: ignore[arg-type]

    def _check(self, trainer: pl.Trainer, name: str, value: float) -> None:
        if not math.isfinite(value):
            rate = trainer.lightning_module.learning_rate
            raise Diverged(
                f"{name} is {value} at step {trainer.global_step} (learning rate {rate:.3g}): training"
                " diverged; a lower optimizer.lr, a higher schedule.warmup_ratio or"
                " trainer.gradient_clip_val=1.0 would help"
            )
