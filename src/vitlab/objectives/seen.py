"""What a model said of a whole split, batch by batch, together with what was right."""

import torch
from torch import Tensor

from vitlab.gathering import of_all_processes
from vitlab.shapes import Outputs, Targets


class Seen:
    """Outputs and labels of the batches since it was last emptied, those of all in one order."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor]] = []

    def add(self, outputs: Outputs, labels: Targets) -> None:
        self._batches.append((outputs.detach(), labels))

    def emptied(self) -> tuple[Tensor, Tensor] | None:
        """Returns outputs and labels of all processes, on the CPU, and forgets them; None where there were
        none."""
        if not self._batches:
            return None
        here = tuple(torch.cat(each).cpu() for each in zip(*self._batches, strict=True))
        self._batches.clear()
        outputs, labels = (torch.cat(each) for each in zip(*of_all_processes(here), strict=True))
        return outputs, labels
