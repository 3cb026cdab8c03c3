"""Random numbers of each image from its own place alone: in any batch an image looks the same."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vitlab.randomness import derive_seed


class Draws:
    """Draws for each image from (seed, names, place)."""

    def __init__(self, seed: int, places: Tensor, *names: str | int):
        self.generators = [
            torch.Generator().manual_seed(derive_seed(seed, *names, place)) for place in places.tolist()
        ]

    def _of_each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self.generators])

    def normal(self, *shape: int) -> Tensor:
        """Returns standard normal numbers [batch, *shape]."""
        return self._of_each(lambda generator: torch.randn(shape, generator=generator))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Returns numbers between two bounds [batch, *shape]."""
        return self._of_each(lambda generator: torch.rand(shape, generator=generator)) * (high - low) + low

    def whole(self, low: int, high: int, shape: Sequence[int]) -> Tensor:
        """Returns whole numbers from `low` to below `high` [batch, *shape]."""
        return self._of_each(lambda generator: torch.randint(low, high, tuple(shape), generator=generator))

    def poisson(self, rates: Tensor) -> Tensor:
        """Returns counts with these expectations [batch, ...]."""
        each = zip(rates, self.generators, strict=True)
        return torch.stack([torch.poisson(of_image, generator=generator) for of_image, generator in each])
