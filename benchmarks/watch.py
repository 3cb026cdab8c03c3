"""Callbacks that a benchmark gives to a `vitlab train` in a process of its own, by
`+callbacks.NAME._target_=benchmarks.watch.CLASS`."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


def seconds_of_work() -> float:
    """Returns the CPU seconds of this process since it began, and of its children that have ended."""
    return sum(os.times()[:4])


class EndAtFirstStep(pl.Callback):
    """Prints the seconds of work since the process began, and ends it, where the first training batch has
    arrived."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        print(json.dumps(seconds_of_work()), flush=True)
        os._exit(0)


class Curve(pl.Callback):
    """Writes a line for each validation after a training epoch: seconds of work so far, seconds by the wall,
    accuracy."""

    def __init__(self, file: str):
        self.file, self.began = Path(file), time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            row = [
                seconds_of_work(),
                time.perf_counter() - self.began,
                float(trainer.callback_metrics["val/accuracy"]),
            ]
            with self.file.open("a") as file:
                file.write(json.dumps(row) + "\n")
