"""What a model said of each test image, kept in the order of the split."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from vitlab.data.source import Batch
from vitlab.evaluation.answers import Answers
from vitlab.gathering import of_all_processes


class Collected(pl.Callback):
    """Collects a test's answers of all processes; `answers` has them at its end, or None."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.answers: Answers | None = None

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Tensor, batch: Batch, *where: int
    ) -> None:
        self.seen.append((outputs.float().cpu(), batch.labels.cpu()))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        here = [torch.cat(each) for each in zip(*self.seen, strict=True)] if self.seen else []
        self.seen = []
        parts = [part for part in of_all_processes(here) if part]
        if parts:
            self.answers = Answers(*(_dealt_back(each) for each in zip(*parts, strict=True)))


def _dealt_back(parts: tuple[Tensor, ...]) -> Tensor:
    """Returns the rows of all processes in one order, the first of each, then the second of each."""
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)] = part
    return whole
