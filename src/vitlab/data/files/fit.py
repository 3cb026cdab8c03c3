"""A picture of any shape brought to one size: its centre, the whole on a grey ground, or squeezed."""

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

Interpolation = Literal["bicubic", "bilinear"]
"""How pictures are resized, always antialiased."""

Fit = Literal["crop", "pad", "squash"]
"""How an oblong picture becomes a square: its centre, all of it between bars, or all of it squeezed."""

FITS: tuple[str, ...] = get_args(Fit)

GROUND = 128
"""The level of the bars beside a padded picture: mid grey, in every channel."""

LARGE = 1 << 16
"""Above so many pixels torch resizes, in a quarter of Pillow's time; one pixel in 200 is a level off."""

Size = tuple[int, int]
"""Height and width in pixels."""


def sides(key: str, size: int | list[int]) -> Size:
    """Returns a size that the config states for `key`, such as "image_size": one side, or [height, width].
    Raises ValueError for anything else."""
    both = [size, size] if isinstance(size, int) else size
    if len(both) != 2 or not all(isinstance(side, int) and side > 0 for side in both):
        raise ValueError(f"data.{key}={size}: give a side in pixels, or [height, width]")
    return both[0], both[1]


class Placed(NamedTuple):
    """Where on the wanted size a whole picture lies, and how large it is there: pixels."""

    top: int
    left: int
    rows: int
    columns: int


def placed(original: Size, size: Size) -> Placed:
    """Returns where a padded picture of size `original` lies in `size`: as large as fits, in the middle."""
    factor = min(size[0] / original[0], size[1] / original[1])
    rows, columns = (
        min(max(round(side * factor), 1), most) for side, most in zip(original, size, strict=True)
    )
    return Placed((size[0] - rows) // 2, (size[1] - columns) // 2, rows, columns)


def largest_part(original: Size, size: Size) -> Placed:
    """Returns the largest centred part of `original` with the shape of `size`, on whole pixels."""
    factor = min(original[0] / size[0], original[1] / size[1])
    rows, columns = max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)
    return Placed((original[0] - rows) // 2, (original[1] - columns) // 2, rows, columns)


def resized_by_torch(pixels: np.ndarray, size: Size, interpolation: Interpolation) -> np.ndarray:
    """Returns uint8 pixels [height, width, channels] as [channels, *size]."""
    # through DLPack torch takes a read-only array without a warning
    channels_last = torch.from_dlpack(pixels)[None].permute(0, 3, 1, 2)
    if channels_last.shape[2:] == size:
        return channels_last[0].contiguous().numpy()
    return F.interpolate(channels_last, size, mode=interpolation, antialias=True)[0].contiguous().numpy()


def _resized(image: Image.Image | np.ndarray, size: Size, interpolation: Interpolation) -> np.ndarray:
    """Returns the whole picture at a size, uint8 [channels, height, width]; Pillow resizes small ones."""
    if isinstance(image, Image.Image) and image.width * image.height <= LARGE:
        image = image.resize((size[1], size[0]), Image.Resampling[interpolation.upper()])
        pixels = np.array(image)
        return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    pixels = np.asarray(image)
    return resized_by_torch(pixels.reshape(*pixels.shape[:2], -1), size, interpolation)


def fitted_to(
    image: Image.Image | np.ndarray, size: Size, interpolation: Interpolation, fit: Fit
) -> np.ndarray:
    """Returns a picture (Pillow's, or uint8 [height, width, channels]) as uint8 [channels, *size]."""
    original = (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]
    if fit == "crop" and original != size:
        if isinstance(image, Image.Image) and image.width * image.height <= LARGE:
            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling[interpolation.upper()])
        else:
            part = largest_part(original, size)
            image = np.asarray(image)[part.top : part.top + part.rows, part.left : part.left + part.columns]
    if fit != "pad":
        return _resized(image, size, interpolation)
    at = placed(original, size)
    whole = _resized(image, (at.rows, at.columns), interpolation)
    ground = np.full((len(whole), *size), GROUND, np.uint8)
    ground[:, at.top : at.top + at.rows, at.left : at.left + at.columns] = whole
    return ground


def with_bars(pixels: np.ndarray, shape: Size) -> np.ndarray:
    """Returns a picture [height, width, channels] between the bars that give it the shape of `shape`."""
    height, width = pixels.shape[:2]
    factor = max(height / shape[0], width / shape[1])
    size = (max(round(shape[0] * factor), height), max(round(shape[1] * factor), width))
    ground = np.full((*size, pixels.shape[2]), GROUND, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    ground[top : top + height, left : left + width] = pixels
    return ground
