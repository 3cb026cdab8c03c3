"""The words and the range of colours that all pictures of one moment have in common."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitlab.models.positions import Grid
from vitlab.pictures.drawing import Picture, colours, fitting_range, overlay, spread, uniform_range
from vitlab.pictures.sheets import Text

AMONG_PATCHES = "times an equal share of the patches"
"""The scale of whole methods, which say nothing of other tokens."""

NO_BETTER = "no better than random"


class Caption(NamedTuple):
    """What the pictures of one moment say in words and colours.

    `moment` is when they were taken, such as "step 120, epoch 3". `beats_random` tells of each method that
    was held against a random order on this model whether it does better; `notes` stand under the overview.
    Colours end where those of every moment do; with `fitted` they end where these maps need it, and each map
    is drawn alone too.
    """

    moment: str
    beats_random: Mapping[str, bool]
    notes: Sequence[str]
    fitted: bool = False

    def range_of(self, heat: Tensor, grid: Grid) -> float:
        """Returns where the colours of maps end, in multiples of uniform attention."""
        return fitting_range(heat) if self.fitted else uniform_range(grid)

    def cell(self, picture: Picture, heat: Float[Tensor, "rows columns"], high: float) -> Picture:
        """Returns the overlay, where `fitted` with the map alone below."""
        over = overlay(picture, heat, high)
        if not self.fitted:
            return over
        size = (picture.shape[0], picture.shape[1])
        line = np.full((2, size[1], 3), 255, dtype=np.uint8)
        return np.concatenate([over, line, spread(colours(heat, high), size)])

    def verdict(self, method: str) -> Text:
        """Returns whether the method beats chance on this model, or that nobody has measured it."""
        if method not in self.beats_random:
            return Text("not judged")
        return Text("better than random") if self.beats_random[method] else Text(NO_BETTER, warns=True)
