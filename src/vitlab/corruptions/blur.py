"""Blurs of a batch: Gaussian, out of focus, through glass, of a moving or zooming camera."""

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitlab.corruptions.draws import Draws

Edge = Literal["nearest", "reflect", "mirror"]
"""What lies beyond an edge a b c d: d d d; d c b; c b a."""


def _inside(place: Tensor, side: int, edge: Edge) -> Tensor:
    """Returns places within 0 to side - 1."""
    if edge == "nearest":
        return place.clamp(0, side - 1)
    if edge == "reflect":
        place = place % (2 * side)
        return torch.minimum(place, 2 * side - 1 - place)
    place = place % max(1, 2 * side - 2)
    return torch.minimum(place, 2 * side - 2 - place)


@lru_cache(maxsize=64)
def _blur_matrix(side: int, sigma: float, truncate: float, edge: Edge) -> Tensor:
    reach = int(truncate * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / sigma).double() ** 2) if sigma else torch.ones(1).double()
    place = _inside(torch.arange(side)[:, None] + offsets, side, edge)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, place, (weights / weights.sum()).expand(side, -1)).float()


def gaussian(images: Tensor, sigma: float, truncate: float = 4.0, edge: Edge = "nearest") -> Tensor:
    """Returns images [..., height, width] blurred by a Gaussian of `sigma` pixels."""
    height, width = images.shape[-2:]
    rows, columns = (_blur_matrix(side, sigma, truncate, edge) for side in (height, width))
    return rows @ images @ columns.T


def _disk(radius: float, sigma: float) -> Tensor:
    reach, kernel = (8, 1) if radius <= 8 else (int(radius), 2)
    line = torch.arange(-reach, reach + 1).float()
    disk = ((line[:, None] ** 2 + line**2) <= radius**2).float()
    matrix = _blur_matrix(len(line), sigma, kernel / sigma, "mirror")
    return matrix @ (disk / disk.sum()) @ matrix.T


def defocus(images: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
    """Returns images [batch, channels, height, width] blurred by a disk."""
    kernel = _disk(*strength)
    reach, (height, width) = len(kernel) // 2, images.shape[2:]
    rows, columns = (_inside(torch.arange(-reach, side + reach), side, "mirror") for side in (height, width))
    padded = images[:, :, rows][:, :, :, columns].flatten(0, 1)[:, None]
    return F.conv2d(padded, kernel[None, None]).view_as(images)


def glass(images: Tensor, strength: tuple[float, int, int], draws: Draws) -> Tensor:
    """Returns blurred images whose pixels have changed places with near ones, one after the other."""
    sigma, step, rounds = strength
    batch, _, height, width = images.shape
    blurred = (gaussian(images, sigma) * 255).floor() / 255
    rows, columns = range(height - step, step, -1), range(width - step, step, -1)
    moves = draws.whole(-step, step, (rounds * len(rows) * len(columns), 2)).numpy()
    place, each = np.tile(np.arange(height * width), (batch, 1)), np.arange(batch)
    here = np.array([row * width + column for row in rows for column in columns] * rounds)
    there = here + moves[:, :, 1] * width + moves[:, :, 0]
    for turn, at in enumerate(here):
        other = there[:, turn]
        kept = place[:, at].copy()
        place[:, at] = place[each, other]
        place[each, other] = kept
    moved = blurred.flatten(2).gather(2, torch.from_numpy(place)[:, None].expand(-1, images.shape[1], -1))
    return gaussian(moved.view_as(images), sigma)


def in_motion(images: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Returns images as of a camera that moves along a line, each at an angle, as ImageMagick does it."""
    batch, channels, height, width = images.shape
    steps = torch.arange(2 * radius + 1)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    weights = weights / weights.sum()
    angle = degrees.view(batch, 1, 1) * math.pi / 180
    rows, columns = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    flat, result = images.flatten(2), torch.zeros_like(images).flatten(2)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        row = (rows + (step * angle.sin() - 0.5).ceil().long()).clamp(0, height - 1)
        column = (columns + (step * angle.cos() - 0.5).ceil().long()).clamp(0, width - 1)
        place = (row * width + column).flatten(1)[:, None].expand(-1, channels, -1)
        result += weight * flat.gather(2, place)
    return result.view_as(images)


def motion(images: Tensor, strength: tuple[int, float], draws: Draws) -> Tensor:
    """Returns images of a camera in motion, within 45 degrees of the horizontal."""
    return in_motion(images, *strength, draws.uniform(-45, 45))


def zoomed(images: Tensor, factor: float) -> Tensor:
    """Returns the centre of images, enlarged by `factor` to their size."""
    height, width = images.shape[2:]
    cut = [math.ceil(side / factor) for side in (height, width)]
    top, left = (height - cut[0]) // 2, (width - cut[1]) // 2
    part = images[:, :, top : top + cut[0], left : left + cut[1]]
    size = [max(side, round(each * factor)) for side, each in zip((height, width), cut, strict=True)]
    large = F.interpolate(part, size=size, mode="bilinear", align_corners=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return large[:, :, top : top + height, left : left + width]


def zoom(images: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
    """Returns images of a camera that comes nearer."""
    factors = np.arange(1, *strength)
    total = images + sum(zoomed(images, float(factor)) for factor in factors)
    return total / (len(factors) + 1)
