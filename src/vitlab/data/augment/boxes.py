"""Rectangles in images, as (top, left, bottom, right) in pixels from the corner, fractions included."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

Boxes = Float[Tensor, "batch 4"]

Sides = Int[Tensor, " batch"]

CROP_ASPECT = (3 / 4, 4 / 3)
"""Height to width of a resized crop, as in Szegedy et al. 2015 (arXiv:1409.4842)."""


def random_boxes(
    draws: Float[Tensor, "batch 4"],
    area: Sequence[float],
    aspect: tuple[float, float],
    size: tuple[int, int] | tuple[Sides, Sides],
) -> Boxes:
    """Returns boxes inside `size` (height, width; of all images, or of each) from uniform draws: for the
    share of the area, the logarithm of height/width, and the position. Where no box of some area has some
    aspect (it would stick out), the aspect is drawn from those that fit."""
    height, width = (torch.as_tensor(side, dtype=torch.float32) for side in size)
    covered = height * width * (area[0] + (area[1] - area[0]) * draws[:, 0])
    lowest = torch.log(covered / width**2).clamp(min=math.log(aspect[0]))
    highest = torch.log(height**2 / covered).clamp(max=math.log(aspect[1]))
    # An image longer than any aspect allowed, filled nearly whole: both bounds meet where the box still fits.
    lowest = torch.minimum(lowest, torch.log(height**2 / covered))
    highest = torch.maximum(highest, lowest)
    ratio = torch.exp(lowest + (highest - lowest) * draws[:, 1])
    rows = torch.minimum((covered * ratio).sqrt(), height)
    columns = torch.minimum((covered / ratio).sqrt(), width)
    top, left = (height - rows) * draws[:, 2], (width - columns) * draws[:, 3]
    return torch.stack([top, left, top + rows, left + columns], dim=1)


def outside(
    boxes: Boxes, size: tuple[int, int], device: torch.device
) -> Float[Tensor, "batch 1 {size[0]} {size[1]}"]:
    """Returns on `device` 0 for each pixel of images of `size` whose centre lies in the box, else 1."""
    top, left, bottom, right = boxes.to(device, non_blocking=True)[:, :, None].unbind(1)
    row, column = torch.arange(size[0], device=device) + 0.5, torch.arange(size[1], device=device) + 0.5
    rows, columns = ((row >= top) & (row < bottom)).float(), ((column >= left) & (column < right)).float()
    return (rows[:, None, :, None] * columns[:, None, None, :]).neg_().add_(1)
