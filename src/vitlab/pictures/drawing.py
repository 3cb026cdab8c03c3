"""Heat maps as pictures: fixed colours that mean the same in every picture, and photographs that stay visible
under them.

A picture is uint8 [height, width, 3]. Nothing here depends on what else is in a picture, so frames and runs
can be compared.
"""

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from vitlab.shapes import Heatmap

Picture = UInt8[np.ndarray, "_ _ 3"]

Colours = Literal["inferno", "viridis", "RdBu_r"]
"""Matplotlib's: perceptually uniform from dark to light, and blue over white to red with a sign."""

UNIFORM_RANGE = 8.0
"""Multiples of uniform attention that the colours span."""

FITTING_RANGES = (2.0, 4.0, 8.0, 16.0)
"""Multiples of uniform attention at which the colours of a picture that stands alone may end."""

STRENGTH = 0.6
"""Share of the colour in an overlay at the top of the range; the photograph keeps the rest."""


@lru_cache
def _table(name: Colours) -> UInt8[np.ndarray, "256 3"]:
    return (colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def colours(
    heat: Float[Tensor, "rows columns"],
    high: float = UNIFORM_RANGE,
    low: float = 0.0,
    name: Colours = "inferno",
) -> Picture:
    """Returns a pixel for each value; below `low` and above `high` the colours end."""
    shares = ((heat.double() - low) / (high - low)).clamp(0.0, 1.0).numpy()
    return _table(name)[(shares * 255).round().astype(np.uint8)]


def photograph(
    image: Float[Tensor, "channels height width"],
    mean: Sequence[float],
    std: Sequence[float],
    bands: Sequence[int] = (),
) -> Picture:
    """Returns what a model sees as people see it: normalisation undone, grey as three equal channels, and of
    more than three the `bands` as red, green and blue."""
    levels = image.detach().cpu().double().permute(1, 2, 0).numpy() * np.asarray(std) + np.asarray(mean)
    pixels = (levels.clip(0.0, 1.0) * 255).round().astype(np.uint8)
    pixels = pixels[..., list(bands)] if bands else pixels
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()


def enlarge(picture: Picture, at_least: int = 96) -> Picture:
    """Returns the picture with its shorter side at least so long, pixels as squares of whole pixels."""
    factor = -(-at_least // min(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1) if factor > 1 else picture


def fit(picture: Picture, side: int) -> Picture:
    """Returns the picture with its longer side near `side`, enlarged or shrunk by a whole factor."""
    longer = max(picture.shape[:2])
    if longer <= side:
        factor = side // longer
        return picture.repeat(factor, axis=0).repeat(factor, axis=1)
    return np.asarray(Image.fromarray(picture).reduce(-(-longer // side)))


def shrink(picture: Picture, side: int) -> Picture:
    """Returns the picture with its longer side at most `side` pixels long."""
    scale = side / max(picture.shape[:2])
    if scale >= 1.0:
        return picture
    height, width = (max(round(length * scale), 1) for length in picture.shape[:2])
    image, how = Image.fromarray(picture), Image.Resampling.BICUBIC
    return np.array(image.resize((width, height), how, reducing_gap=2))


def spread(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns [rows, columns, ...] over `size` by nearest neighbours: nothing is smoothed."""
    sides = zip(size, cells.shape[:2], strict=True)
    rows, columns = ((np.arange(side) * count) // side for side, count in sides)
    return cells[rows[:, None], columns[None]]


def in_uniform(heatmap: Heatmap) -> Heatmap:
    """Returns maps that each sum to 1 in multiples of uniform attention, where every patch would have 1."""
    return heatmap * (heatmap.shape[1] * heatmap.shape[2])


def uniform_range(grid: tuple[int, int]) -> float:
    """Returns the range for a sheet: UNIFORM_RANGE, or less where so few patches differ less."""
    return min(UNIFORM_RANGE, grid[0] * grid[1] / 4)


def fitting_range(heat: Tensor) -> float:
    """Returns the smallest of FITTING_RANGES that holds the largest value, or the last: 4 for a map up to 3.2
    x uniform. It is for pictures that stand alone; frames of a training share `uniform_range`."""
    largest = float(heat.max())
    return next((high for high in FITTING_RANGES if largest <= high), FITTING_RANGES[-1])


def overlay(picture: Picture, heat: Float[Tensor, "rows columns"], vmax: float = UNIFORM_RANGE) -> Picture:
    """Returns the picture with `heat`, in multiples of uniform attention, laid over as colour."""
    size = (picture.shape[0], picture.shape[1])
    share = (heat.float() / vmax).clamp(0.0, 1.0).numpy()[..., None] * np.float32(STRENGTH)
    laid_over = spread(1 - share, size) * picture + spread(share * colours(heat, vmax), size)
    return (laid_over + np.float32(0.5)).astype(np.uint8)


def png(picture: Picture) -> bytes:
    """Returns the picture as a PNG file's content."""
    file = BytesIO()
    Image.fromarray(picture).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def gif(pictures: Sequence[Picture], seconds: float = 0.8) -> bytes:
    """Returns the pictures as an endless animation, the last one held longer; small ones lie on white."""
    size = tuple(max(picture.shape[axis] for picture in pictures) for axis in (1, 0))
    pages = []
    for picture in pictures:
        page = Image.new("RGB", size, "white")
        page.paste(Image.fromarray(picture))
        pages.append(page)
    # one palette, so that colours do not flicker, and the one with the smallest worst error: rare colours of
    # the range matter as much
    sample = Image.fromarray(np.concatenate([np.asarray(page)[::4, ::4] for page in pages]))
    palette = sample.quantize(256, method=Image.Quantize.MAXCOVERAGE)
    frames = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    durations = [round(1000 * seconds)] * (len(frames) - 1) + [round(3000 * seconds)]
    file, endless = BytesIO(), {"save_all": True, "loop": 0, "optimize": False}
    frames[0].save(file, format="GIF", append_images=frames[1:], duration=durations, **endless)
    return file.getvalue()
