"""The order of the samples, as a function of (seed, epoch): no state, and it can start at any batch."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from vitlab.randomness import generator_at


class EpochOrder(Sampler[tuple[int, Tensor]]):
    """Yields `(number, indices)` for each training batch of an epoch; a last batch that would not be full is
    left out.

    `number` counts the batches since the run began. With several ranks each takes its rows of the same global
    batch, so the samples of a batch do not depend on how many devices share it. Raises ValueError where not
    one batch can be filled.
    """

    def __init__(self, num_samples: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1):
        self.global_batch = batch_size * world_size
        if batch_size < 1 or self.global_batch > num_samples:
            raise ValueError(
                f"data.batch_size={batch_size} x {world_size} device(s) does not fit {num_samples} training"
                f" images; 1 to {num_samples // world_size} would work"
            )
        self.num_samples = num_samples
        self.rows = slice(rank * batch_size, (rank + 1) * batch_size)
        self.seed = seed
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Begins `epoch` at its batch `batch`, as a resumed run does; later epochs are whole again."""
        self.epoch, self.first = epoch, batch

    def __len__(self) -> int:
        return self.num_samples // self.global_batch

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        order = torch.randperm(self.num_samples, generator=generator_at(self.seed, "order", self.epoch))
        for position in range(self.first, len(self)):
            batch = order[position * self.global_batch : (position + 1) * self.global_batch]
            yield self.epoch * len(self) + position, batch[self.rows]


class OnceEach(Sampler[tuple[int, Tensor]]):
    """Yields `(number, indices)` over all samples in `order`, each exactly once over all ranks: shares may be
    unequal, none is padded."""

    def __init__(self, order: Tensor, batch_size: int, rank: int = 0, world_size: int = 1):
        self.indices = order[rank::world_size]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        yield from enumerate(self.indices.split(self.batch_size))
