"""A picture of numbers that were said against those that are true."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from vitlab.pictures.figures import written

MOST_DRAWN = 12
"""Numbers that are drawn, each in a square of its own; the first ones of more."""


def scatter_figure(said: Tensor, true: Tensor, names: Sequence[str]) -> Figure:
    """Draws for each number a point an image; on the line it is right. Both are [images, numbers]."""
    shown = min(len(names), MOST_DRAWN)
    columns = min(shown, 3)
    rows = -(-shown // columns)
    figure = Figure(figsize=(1.0 + 3.6 * columns, 0.6 + 3.5 * rows), layout="constrained")
    words, writing = written(names[:shown], 10)
    for place, name in enumerate(words):
        axes = figure.add_subplot(rows, columns, place + 1)
        there, told = true[:, place], said[:, place]
        low = float(min(there.min(), told.min()))
        high = float(max(there.max(), told.max()))
        room = 0.04 * (high - low) or 1.0
        axes.plot([low, high], [low, high], color="0.6", linestyle="--", linewidth=1)
        axes.plot(there.numpy(), told.numpy(), "o", color="#3b6ea5", markersize=3, alpha=0.5)
        error = float((told - there).abs().mean())
        axes.set_title(name, **writing)
        axes.set(xlabel="true", ylabel=f"said (off by {error:.3g} on average)")
        axes.set(xlim=(low - room, high + room), ylim=(low - room, high + room))
    return figure
