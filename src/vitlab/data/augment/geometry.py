"""Affine views of images: every step is a matrix, their product one sampling of the stored pixels.

A matrix takes a place in the view to the place in the image that it shows, both as (x, y, 1) in pixels from
the centre.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vitlab.data.augment.boxes import Boxes
from vitlab.shapes import Pixels

IN_CACHE = 1 << 20
"""Levels of pixels that are sampled at a time on a CPU: as float32 they stay in its caches."""

PHOTOGRAPH = 96
"""Shorter side in pixels from which images are cut at whole pixels: faster, and half a pixel is little."""

Matrices = Float[Tensor, "batch 3 3"]

Parameter = Float[Tensor, " batch"]
"""One number a sample."""


def _matrices(xx: Tensor, xy: Tensor, x: Tensor, yx: Tensor, yy: Tensor, y: Tensor) -> Matrices:
    zero = torch.zeros_like(xx)
    return torch.stack([xx, xy, x, yx, yy, y, zero, zero, zero + 1], dim=1).view(-1, 3, 3)


def rotation(degrees: Parameter) -> Matrices:
    """Returns views in which the image is turned clockwise."""
    angle = torch.deg2rad(degrees)
    zero = torch.zeros_like(angle)
    return _matrices(angle.cos(), angle.sin(), zero, -angle.sin(), angle.cos(), zero)


def shearing(x: Parameter, y: Parameter) -> Matrices:
    """Returns views with rows shifted left by `x` a row downwards, then columns up by `y` a column."""
    zero = torch.zeros_like(x)
    return _matrices(1 + x * y, x, zero, y, zero + 1, zero)


def scaling(factor: Parameter) -> Matrices:
    """Returns views in which the image is larger by `factor`."""
    zero = torch.zeros_like(factor)
    return _matrices(1 / factor, zero, zero, zero, 1 / factor, zero)


def translation(x: Parameter, y: Parameter) -> Matrices:
    """Returns views in which the image is moved by `x` pixels to the right and `y` down."""
    zero = torch.zeros_like(x)
    return _matrices(zero + 1, zero, -x, zero, zero + 1, -y)


def window(boxes: Boxes, stored: tuple[int, int], size: tuple[int, int]) -> Matrices:
    """Returns views of `size` that show a box of a `stored` image, mirrored where its right lies left."""
    top, left, bottom, right = boxes.unbind(1)
    zero = torch.zeros_like(top)
    x, y = (left + right - stored[1]) / 2, (top + bottom - stored[0]) / 2
    return _matrices((right - left) / size[1], zero, x, zero, (bottom - top) / size[0], y)


def sample(
    pixels: Pixels, matrices: Matrices, size: tuple[int, int], beyond: Literal["zeros", "border"] = "zeros"
) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """Returns views of `size` (height, width); beyond the image they are black, or as its nearest pixel.
    Bilinear without a prefilter: a view that shrinks the image by more than two skips pixels."""
    device = pixels.device
    x = torch.arange(size[1], device=device) - (size[1] - 1) / 2
    y = torch.arange(size[0], device=device)[:, None] - (size[0] - 1) / 2
    # grid_sample counts from -1 to 1 across the image
    unit = torch.tensor([[pixels.shape[3] / 2], [pixels.shape[2] / 2]])
    in_units = (matrices[:, :2] / unit).to(device, non_blocking=True)
    along_x, along_y, fixed = in_units[..., None, None].unbind(2)
    at_once = max(IN_CACHE // pixels[0].numel(), 1) if device.type == "cpu" else len(pixels)
    views = torch.empty((len(pixels), pixels.shape[1], *size), dtype=torch.uint8, device=device)
    for start in range(0, len(pixels), at_once):
        rows = slice(start, start + at_once)
        grid = along_x[rows] * x + (along_y[rows] * y + fixed[rows])  # [B, 2, height, width]
        grid, some = grid.permute(0, 2, 3, 1), pixels[rows].float()
        view = F.grid_sample(some, grid, mode="bilinear", padding_mode=beyond, align_corners=False)
        views[rows] = view.round_()
    return views


def boxes_by_resize(
    pixels: Pixels, boxes: Boxes, size: tuple[int, int]
) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """The kernel of `resized` for photographs on a CPU: torch's resize of bytes, in whole pixels."""
    assert len(boxes) == len(pixels)
    # threads do not inherit the mode, and could not write into a tensor of it
    with torch.inference_mode(False):
        views = torch.empty((len(pixels), pixels.shape[1], *size), dtype=torch.uint8)
    last_row, last_column, threads = pixels.shape[2] - 1, pixels.shape[3] - 1, torch.get_num_threads()

    def fill(place: Tensor, image: Tensor, box: list[float]) -> None:
        top, start = min(round(box[0]), last_row), min(round(min(box[1], box[3])), last_column)
        bottom, end = max(round(box[2]), top + 1), max(round(max(box[1], box[3])), start + 1)
        view = F.interpolate(image[None, :, top:bottom, start:end], size, mode="bilinear")[0]
        place.copy_(view if box[1] < box[3] else view.flip(2))

    try:  # a thread that had torch's threads of its own would be slower
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(fill, views, pixels, boxes.tolist()):
                pass  # which raises what a thread raised
    finally:
        torch.set_num_threads(threads)
    return views


def resized(
    pixels: Pixels, boxes: Boxes, size: tuple[int, int]
) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """Returns what a box shows of each image, at `size`, bilinear without a prefilter; mirrored where its
    right side lies left of its left one. Photographs are cut at whole pixels on a CPU, as nowhere else."""
    stored = (pixels.shape[2], pixels.shape[3])
    if pixels.device.type == "cpu" and min(stored) >= PHOTOGRAPH:
        return boxes_by_resize(pixels, boxes, size)
    # a box's outermost samples may lie up to half a pixel beyond the image
    return sample(pixels, window(boxes, stored, size), size, beyond="border")
