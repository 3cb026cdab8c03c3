"""Energies of scores: how unlike the training data an image is, and those of validation images, which
checkpoints keep to hold others against."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitlab.shapes import Logits, OfEachImage

MOST_SCORES = 20_000
"""Validation images of which a number each is kept; of more, evenly spaced ones."""


def energy(logits: Logits) -> OfEachImage:
    """Returns -log of the sum of the exponents of an image's scores; more is more unlike training images:
    "Energy-based Out-of-distribution Detection" (Liu et al. 2020, arXiv:2010.03759)."""
    return -logits.float().logsumexp(dim=1)


def thinned(values: OfEachImage) -> Tensor:
    """Returns values in ascending order, of more than `MOST_SCORES` evenly spaced ones."""
    every = max(1, -(-len(values) // MOST_SCORES))
    return values.sort().values[::every].contiguous()


def as_energies(plain: Mapping[str, Any]) -> Tensor:
    """Reads energies that a file holds; without any they are empty. Raises ValueError
    where they are anything else."""
    energies = plain.get("energies", torch.empty(0))
    if not isinstance(energies, Tensor) or energies.dtype != torch.float32 or energies.ndim != 1:
        raise ValueError("objective.energies")
    return energies.sort().values
