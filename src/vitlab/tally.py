"""What a training step leaves for the next log line: loss and accuracy, without waiting for the device."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitlab.shapes import Labels, Logits, Loss, SoftLabels


class TrainingTally:
    """Loss and accuracy since the last reading, on the device: a step keeps what it has, and now and then all of it is counted."""

    CAPACITY = 16
    """Steps whose logits are kept until they are counted together."""

    def __init__(self) -> None:
        self._losses: list[Loss] = []
        self._kept: list[tuple[Logits, Labels | SoftLabels]] = []
        self._loss = self._correct = self._images = 0

    def add(self, loss: Loss, logits: Logits, labels: Labels | SoftLabels) -> None:
        """Counts a prediction as correct where it is the label, or the heaviest part of a mixed one."""
        self._losses.append(loss.detach() * len(logits))
        self._kept.append((logits.detach(), labels))
        if len(self._losses) == self.CAPACITY:
            self._count()

    def _count_correct(self) -> None:
        if not self._kept:
            return
        logits, labels = zip(*self._kept, strict=True)
        truth = torch.cat(labels)
        truth = truth if truth.ndim == 1 else truth.argmax(dim=1)
        self._correct = self._correct + (torch.cat(logits).argmax(dim=1) == truth).sum()
        self._images += len(truth)
        self._kept.clear()

    def _count(self) -> None:
        self._count_correct()
        if self._losses:
            self._loss = self._loss + torch.stack(self._losses).sum()
            self._losses.clear()

    @property
    def loss(self) -> float:
        """The sum of losses so far; reading it waits for the device."""
        self._count()
        return float(self._loss)

    def read(self) -> dict[str, float]:
        """Returns the means since the last reading and starts anew."""
        self._count()
        means = {"train/loss": float(self._loss) / self._images, "train/accuracy": float(self._correct) / self._images}
        self._loss = self._correct = self._images = 0
        return means

    def state(self) -> dict[str, Any]:
        """Returns plain data for a checkpoint; losses stay apart, because another grouping of a sum would change its last bit."""
        self._count_correct()
        loss, correct = (value.cpu() if isinstance(value, Tensor) else value for value in (self._loss, self._correct))
        return {"loss": loss, "correct": correct, "images": self._images, "losses": [each.cpu() for each in self._losses]}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Goes on from a `state`."""
        self._kept.clear()
        self._losses = [loss.to(device) for loss in state["losses"]]
        self._loss, self._correct = (
            value.to(device) if isinstance(value, Tensor) else value for value in (state["loss"], state["correct"])
        )
        self._images = state["images"]
