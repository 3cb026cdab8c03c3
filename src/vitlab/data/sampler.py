"""The order of the samples, as a function of (seed, epoch): no state, and it can start at any batch."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Sampler

from vitlab.data.targets import counts_of
from vitlab.randomness import generator_at
from vitlab.shapes import Targets

Sampling = Literal["uniform", "balanced", "sqrt"]
"""How an epoch's samples are drawn: each once, every class equally often, or ("sqrt") in between."""


def sampling_weights(labels: Targets, sampling: Sampling) -> Tensor | None:
    """Returns a weight a sample by the size of its class: 1 / count for `balanced`, 1 / sqrt(count) for
    `sqrt` (Mikolov et al. 2013; Mahajan et al. 2018), None for `uniform`.

    Of several labels the rarest one of an image counts (Gupta et al. 2019, arXiv:1908.03195); images without
    any are a class of their own. Raises ValueError for numbers, which have no classes.
    """
    if sampling == "uniform":
        return None
    if labels.is_floating_point():
        raise ValueError(f"data.sampling={sampling}: numbers have no classes; uniform would work")
    if labels.ndim == 2:
        none = (labels.sum(dim=1) == 0).long()
        counts = torch.cat([counts_of(labels, labels.shape[1]), none.sum()[None]]).double()
        each = (counts if sampling == "balanced" else counts.sqrt()).clamp_min(1e-9).reciprocal()
        return (torch.cat([labels.long(), none[:, None]], dim=1) * each).amax(dim=1)
    counts = labels.long().bincount().double()
    return (counts if sampling == "balanced" else counts.sqrt()).reciprocal()[labels.long()]


class EpochOrder(Sampler[tuple[int, Tensor]]):
    """Yields `(number, indices)` for each training batch of an epoch; a last batch that would not be full is
    left out.

    `number` counts the batches since the run began. With several ranks each takes its rows of the same global
    batch, so the samples of a batch do not depend on how many devices share it. With `weights`, a number a
    sample, an epoch has as many samples, drawn with replacement in proportion to them. Raises ValueError
    where not one batch can be filled.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        weights: Tensor | None = None,
    ):
        self.global_batch = batch_size * world_size
        if batch_size < 1 or self.global_batch > num_samples:
            raise ValueError(
                f"data.batch_size={batch_size} x {world_size} device(s) does not fit {num_samples} training"
                f" images; 1 to {num_samples // world_size} would work"
            )
        self.num_samples = num_samples
        self.rows = slice(rank * batch_size, (rank + 1) * batch_size)
        self.seed = seed
        self.weights = weights
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of `epoch`, unless the order is in it. Lightning calls this before each epoch."""
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Begins `epoch` at its batch `batch`, as a resumed run does; later epochs are whole again."""
        self.epoch, self.first = epoch, batch

    def __len__(self) -> int:
        return self.num_samples // self.global_batch

    def _order(self, generator: torch.Generator) -> Tensor:
        if self.weights is None:
            return torch.randperm(self.num_samples, generator=generator)
        ends = self.weights.double().cumsum(0)
        drawn = torch.rand(self.num_samples, generator=generator, dtype=torch.float64) * ends[-1]
        return torch.searchsorted(ends, drawn, right=True).clamp_max(self.num_samples - 1)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        order = self._order(generator_at(self.seed, "order", self.epoch))
        for position in range(self.first, len(self)):
            batch = order[position * self.global_batch : (position + 1) * self.global_batch]
            yield self.epoch * len(self) + position, batch[self.rows]


class OnceEach(Sampler[tuple[int, Tensor]]):
    """Yields `(number, indices)` over all samples in `order`, each once over all ranks: none is padded."""

    def __init__(self, order: Tensor, batch_size: int, rank: int = 0, world_size: int = 1):
        self.indices = order[rank::world_size]
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        yield from enumerate(self.indices.split(self.batch_size))
