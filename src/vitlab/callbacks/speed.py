"""How fast the run is."""

import time
from typing import Any

import pytorch_lightning as pl


class Speed(pl.Callback):
    """Logs `train/images_per_second` of all devices over each logging interval; validation does not count."""

    def __init__(self) -> None:
        self._images = 0
        self._since: float | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._since is None:
            self._images, self._since = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch.labels)
        if pl_module.is_logging_step() and self._since is not None:
            seconds = time.perf_counter() - self._since
            pl_module.noted["train/images_per_second"] = self._images * trainer.world_size / seconds
            self._since = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._since = None
