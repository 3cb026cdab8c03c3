"""Which part of a photograph the model saw: the way back from its patches to the photograph's own pixels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitlab.data.augment.crop import fitted
from vitlab.data.files.fit import Fit
from vitlab.models.positions import Grid
from vitlab.pictures.drawing import Picture, colours, overlay, spread

Size = tuple[int, int]

HATCH_PERIOD = 10
"""Pixels from one line of the hatching to the next."""


class Rectangle(NamedTuple):
    """A part of a picture, in pixels from its upper left corner; edges may lie between pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def scaled(self, factor: float) -> "Rectangle":
        return Rectangle(*(edge * factor for edge in self))

    def whole(self) -> tuple[int, int, int, int]:
        """Returns the nearest edges between pixels, at least one pixel apart."""
        left, top = int(self.left + 0.5), int(self.top + 0.5)
        return left, top, max(int(self.right + 0.5), left + 1), max(int(self.bottom + 0.5), top + 1)

    def cell(self, row: int, column: int, grid: Grid) -> "Rectangle":
        """Returns the part that one patch of a grid over this rectangle covers."""
        height, width = (self.bottom - self.top) / grid[0], (self.right - self.left) / grid[1]
        left, top = self.left + column * width, self.top + row * height
        return Rectangle(left, top, left + width, top + height)


def seen_rectangle(original: Size, stored: Size, image_size: Size, fit: Fit = "crop") -> Rectangle:
    """Returns what `read_image` (to `stored`) and `centre_view` (to `image_size`) leave of an upright
    picture; sizes are (height, width).

    The first cuts out the largest centred part of the shape of `stored` (or squeezes all of it), the second
    the centre of that, at whole stored pixels. A padded picture is taken with its bars.
    """
    height, width = original
    # the picture's own pixels to one stored pixel, down and across
    down, across = height / stored[0], width / stored[1]
    if fit != "squash":
        down = across = min(down, across)
    first_left, first_top = (width - across * stored[1]) / 2, (height - down * stored[0]) / 2
    rows, columns = fitted(stored, image_size)
    left = first_left + across * ((stored[1] - columns) // 2)
    top = first_top + down * ((stored[0] - rows) // 2)
    return Rectangle(left, top, left + across * columns, top + down * rows)


def hatched(picture: Picture, seen: Rectangle) -> Picture:
    """Returns the picture paler and with diagonal lines wherever the model did not see it."""
    height, width = picture.shape[:2]
    left, top, right, bottom = seen.whole()
    rows, columns = np.mgrid[:height, :width]
    on_line = (rows + columns) % HATCH_PERIOD < 2
    pale = np.where(on_line[..., None], 90, picture // 3 + 150).astype(np.uint8)
    pale[top:bottom, left:right] = picture[top:bottom, left:right]
    return pale


def overlay_on_original(
    picture: Picture, seen: Rectangle, heat: Float[Tensor, "rows columns"], vmax: float
) -> Picture:
    """Returns the photograph with `overlay`'s colours over what the model saw, and the rest hatched."""
    left, top, right, bottom = seen.whole()
    drawn = hatched(picture, seen)
    drawn[top:bottom, left:right] = overlay(np.ascontiguousarray(picture[top:bottom, left:right]), heat, vmax)
    return drawn


def map_on_original(
    picture: Picture, seen: Rectangle, heat: Float[Tensor, "rows columns"], vmax: float
) -> Picture:
    """Returns the map's colours alone, where they lie on the photograph; the rest is hatched."""
    left, top, right, bottom = seen.whole()
    drawn = hatched(np.full_like(picture, 255), seen)
    drawn[top:bottom, left:right] = spread(colours(heat, vmax), (bottom - top, right - left))
    return drawn
