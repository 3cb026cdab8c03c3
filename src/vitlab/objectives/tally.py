"""What a training step leaves for the next log line: loss and counts, without waiting for the device."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from vitlab.shapes import Loss

Count = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs and labels of some batches, and returns a whole number or a truth for each sample:
`is_correct`."""


class Tally:
    """Sums since the last reading, on the device: a step keeps what it has, and now and then all of it is
    counted.

    `counts` have a name each, under which `train/NAME` is logged: the mean over the interval's samples. They
    must be whole numbers or truths, whose sum is the same however batches are grouped; so a run that was
    killed goes on with the same bits.
    """

    CAPACITY = 16
    """Steps whose outputs are kept until they are counted together."""

    def __init__(self, counts: Mapping[str, Count] | None = None) -> None:
        self._counts = dict(counts or {})
        self._losses: list[Loss] = []
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._loss: Tensor | float = 0.0
        self._counted: dict[str, Tensor | int] = dict.fromkeys(self._counts, 0)
        self._samples = 0

    @property
    def names(self) -> list[str]:
        """Names of what is counted beside the loss."""
        return list(self._counts)

    def add(self, loss: Loss, outputs: Tensor, labels: Tensor) -> None:
        """Takes in a batch's mean loss, and its outputs and labels, a row a sample."""
        self._losses.append(loss.detach() * len(outputs))
        self._samples += len(outputs)
        if self._counts:
            self._kept.append((outputs.detach(), labels))
        if len(self._losses) == self.CAPACITY:
            self._count()

    def _count_kept(self) -> None:
        if not self._kept:
            return
        outputs, labels = (torch.cat(each) for each in zip(*self._kept, strict=True))
        for name, count in self._counts.items():
            self._counted[name] = self._counted[name] + count(outputs, labels).sum()
        self._kept.clear()

    def _count(self) -> None:
        self._count_kept()
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
        sums = {"loss": self._loss, **self._counted}
        means = {f"train/{name}": float(value) / self._samples for name, value in sums.items()}
        self._loss, self._samples = 0.0, 0
        self._counted = dict.fromkeys(self._counts, 0)
        return means

    def state(self) -> dict[str, Any]:
        """Returns plain data for a checkpoint; losses stay apart, because another grouping of a sum would
        change its last bit."""
        self._count_kept()
        loss, *counted = (
            value.cpu() if isinstance(value, Tensor) else value
            for value in (self._loss, *self._counted.values())
        )
        losses = [each.cpu() for each in self._losses]
        return {
            "loss": loss,
            "counted": dict(zip(self._counted, counted, strict=True)),
            "samples": self._samples,
            "losses": losses,
        }

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Goes on from a `state`."""

        def placed(value: Any) -> Any:
            return value.to(device) if isinstance(value, Tensor) else value

        self._kept.clear()
        self._losses = [loss.to(device) for loss in state["losses"]]
        self._loss = placed(state["loss"])
        self._counted = {name: placed(value) for name, value in state["counted"].items()}
        self._samples = state["samples"]
