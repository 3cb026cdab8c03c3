"""The random numbers of one batch, a function of where it stands in the run and of nothing else."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitlab.randomness import derive_seed, generator_at


class Draws:
    """Draws on the CPU for each sample of a device's batch, from the seed, the batch's number, the sample's
    place in the global batch, and each stage's name: to switch one off leaves the others as they were."""

    def __init__(self, seed: int, number: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.place = (seed, "augment", number)
        self.total = batch_size * world_size
        self.mine = slice(batch_size * rank, batch_size * (rank + 1))

    def uniform(self, stage: str, columns: int) -> Float[Tensor, "batch {columns}"]:
        """Returns numbers in [0, 1); times a whole number n they stay below n, in float32 too."""
        return torch.rand(self.total, columns, generator=generator_at(*self.place, stage))[self.mine]

    def beta(self, stage: str, alpha: float) -> Float[Tensor, " batch"]:
        """Returns numbers in [0, 1] from Beta(alpha, alpha), by NumPy: torch's own take no generator."""
        sample = np.random.default_rng(derive_seed(*self.place, stage)).beta(alpha, alpha, self.total)
        return torch.from_numpy(sample[self.mine]).float()
