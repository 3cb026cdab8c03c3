"""What a test of numbers shows beyond its metrics: each number's errors, and what was said against what is
true."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vitlab.data.source import Batch
from vitlab.gathering import of_all_processes
from vitlab.pictures.figures import drawn
from vitlab.pictures.scatter import scatter_figure
from vitlab.words import plain


class NumberExaminer:
    """Gives `mae_of/NAME`, `rmse_of/NAME` and `r2_of/NAME` of every number; draws `scatter`."""

    def __init__(self, names: Sequence[str], numbers: Callable[[Tensor], Tensor]):
        self.names = tuple(names)
        self.numbers = numbers
        self.seen: list[tuple[Tensor, Tensor]] = []

    def add(self, outputs: Tensor, batch: Batch) -> None:
        self.seen.append((self.numbers(outputs).cpu(), batch.labels.cpu()))

    def finish(self) -> tuple[dict[str, float], dict[str, Any]]:
        seen = [pair for each in of_all_processes(self.seen) for pair in each]
        said, true = (torch.cat(each).double() for each in zip(*seen, strict=True))
        squares, spread = (said - true).square().mean(dim=0), true.var(dim=0, correction=0)
        numbers = {}
        for place, name in enumerate(map(plain, self.names)):
            numbers[f"mae_of/{name}"] = float((said - true)[:, place].abs().mean())
            numbers[f"rmse_of/{name}"] = float(squares[place].sqrt())
            if spread[place] > 0:  # of equal numbers there is no share that could be explained
                numbers[f"r2_of/{name}"] = float(1 - squares[place] / spread[place])
        if dist.is_available() and dist.is_initialized() and dist.get_rank():
            return numbers, {}
        return numbers, {"scatter": drawn(scatter_figure(said, true, self.names))}
