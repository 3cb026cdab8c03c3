"""Pictures of results, drawn with Matplotlib's file-only canvas: no window, no global state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from torch import Tensor

from vitlab.pictures.drawing import Picture
from vitlab.pictures.fonts import DEJAVU, font_file, legible
from vitlab.words import plain

MAX_NAMED_CLASSES = 30
"""Above this many classes names and counts would not be legible in a confusion matrix."""

MAX_CELLS = 500
"""More classes than this share the rows and columns of a confusion matrix: it has so few pixels."""

MAX_BARS = 200
"""Above this many classes the lowest are drawn: the figure would be higher than a picture can be."""

NO_IMAGES = "0.8"
"""Grey of a class without images."""


def written(names: Sequence[str], size: float) -> tuple[list[str], dict[str, Any]]:
    """Returns the names as they can be written, and Matplotlib's argument for a font of `size` points."""
    names = [plain(name) for name in names]
    file = font_file(" ".join(names))
    return (names if file else [legible(name, ()) for name in names]), {
        "fontproperties": FontProperties(fname=file or DEJAVU, size=size),
        "parse_math": False,  # $ is a letter
    }


def _blocks_of_classes(true: Tensor, predicted: Tensor, num_classes: int) -> tuple[Tensor, int]:
    """Returns counts of [true, predicted], and how many neighbours share a row: at most MAX_CELLS rows."""
    width = -(-num_classes // MAX_CELLS)
    side = -(-num_classes // width)
    return (true // width * side + predicted // width).bincount(minlength=side * side).view(side, side), width


def confusion_figure(true: Tensor, predicted: Tensor, class_names: tuple[str, ...]) -> Figure:
    """Draws how often each true class was taken for each other: colour is the share of the true class, the
    number in a cell the count. A class without images has no shares, and its row is grey."""
    num_classes = len(class_names)
    counts, width = _blocks_of_classes(true, predicted, num_classes)
    shares = counts.double() / counts.sum(dim=1, keepdim=True)
    named = num_classes <= MAX_NAMED_CLASSES
    side = 2.5 + 0.45 * num_classes if named else 9.0
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps["viridis"].with_extremes(bad=NO_IMAGES)
    end = len(counts) * width - 0.5
    where: Any = {"interpolation": "nearest", "extent": (-0.5, end, end, -0.5)}
    image = axes.imshow(shares.numpy(), vmin=0.0, vmax=1.0, cmap=colours, **where)
    to_a_cell = f", {width} classes to a cell" if width > 1 else ""
    figure.colorbar(image, ax=axes, label=f"share of the true class{to_a_cell}", shrink=0.8)
    correct = int((true == predicted).sum())
    axes.set(xlabel="predicted", ylabel="true", title=f"{correct} of {len(true)} correct")
    if named:
        names, writing = written(class_names, 10)
        axes.set_xticks(range(num_classes), names, rotation=45, ha="right", **writing)
        axes.set_yticks(range(num_classes), names, **writing)
        for row, column in np.ndindex(num_classes, num_classes):
            if counts[row, column]:
                count, ink = str(int(counts[row, column])), "black" if shares[row, column] > 0.6 else "white"
                axes.text(column, row, count, ha="center", va="center", color=ink, fontsize=8)
    return figure


def drawn(figure: Figure) -> Picture:
    """Returns the figure at 120 dots an inch."""
    figure.set_dpi(120)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once: savefig would also draw it without looking, for the layout alone
    return np.asarray(canvas.buffer_rgba())[..., :3]


def reliability_figure(said: Any, scaled: Any = None) -> Figure:
    """Draws how often the model is right against how sure it is, as it says itself and after scaling; on the
    diagonal it means what it says. Both are bins with `count`, `confidence`, `accuracy` and `error`. Below:
    how many images lie in each."""
    figure = Figure(figsize=(5.5, 6.0), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    for bins, name, colour in ((said, "as it says", "#b8622f"), (scaled, "scaled", "#3b6ea5")):
        if bins is None:
            continue
        held = bins.count > 0
        label = f"{name}: off by {bins.error:.1%} on average"
        axes.plot(bins.confidence[held].numpy(), bins.accuracy[held].numpy(), "o-", color=colour, label=label)
        edges = np.linspace(0, 1, len(bins.count) + 1)
        below.stairs(bins.count.numpy(), edges, color=colour)
    axes.set(ylabel="how often it is right", xlim=(0, 1), ylim=(0, 1), title="Confidence against accuracy")
    axes.legend(loc="upper left")
    below.set(xlabel="how sure it is", ylabel="images")
    return figure
