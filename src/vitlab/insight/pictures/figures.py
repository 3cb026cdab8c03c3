"""Pictures of results, drawn with Matplotlib's file-only canvas: no window, no global state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from torch import Tensor

from vitlab.insight.pictures.drawing import Picture
from vitlab.insight.pictures.fonts import DEJAVU, font_file, legible
from vitlab.words import plain

MAX_NAMED_CLASSES = 30
"""Above this many classes names and counts would not be legible in a confusion matrix."""


def _written(names: Sequence[str], size: float) -> tuple[list[str], dict[str, Any]]:
    """Returns the names as they can be written, and Matplotlib's argument for the one font, of `size` points, for all of them."""
    names = [plain(name) for name in names]
    file = font_file(" ".join(names))
    return (names if file else [legible(name, ()) for name in names]), {
        "fontproperties": FontProperties(fname=file or DEJAVU, size=size),
        "parse_math": False,  # $ is a letter
    }


def confusion_figure(counts: Tensor, class_names: tuple[str, ...]) -> Figure:
    """Draws counts of [true class, predicted class]; colour is the share of the true class, the number in a cell the count."""
    num_classes = len(class_names)
    shares = counts.double() / counts.sum(dim=1, keepdim=True).clamp_min(1)
    named = num_classes <= MAX_NAMED_CLASSES
    side = 2.5 + 0.45 * num_classes if named else 9.0
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares.numpy(), vmin=0.0, vmax=1.0, cmap="viridis", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    correct = int(counts.diag().sum())
    axes.set(xlabel="predicted", ylabel="true", title=f"{correct} of {int(counts.sum())} correct")
    if named:
        names, writing = _written(class_names, 10)
        axes.set_xticks(range(num_classes), names, rotation=45, ha="right", **writing)
        axes.set_yticks(range(num_classes), names, **writing)
        for row, column in np.ndindex(num_classes, num_classes):
            if counts[row, column]:
                colour = "black" if shares[row, column] > 0.6 else "white"
                axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=colour, fontsize=8)
    return figure


def per_class_figure(counts: Tensor, class_names: tuple[str, ...]) -> Figure:
    """Draws the accuracy of each class as a bar, lowest first, from counts of [true class, predicted class]."""
    accuracy = counts.diag().double() / counts.sum(dim=1).clamp_min(1)
    order = accuracy.argsort().tolist()
    figure = Figure(figsize=(7.0, 1.2 + 0.22 * len(order)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(order)), accuracy[order].numpy(), color="#3b6ea5")
    for row, value in enumerate(accuracy[order].tolist()):
        axes.text(1.02, row, f"{value:.2f}", va="center", fontsize=8)  # not at the bar's end, where the line may cross it
    names, writing = _written([class_names[index] for index in order], 8)
    axes.set_yticks(range(len(order)), names, **writing)
    axes.invert_yaxis()
    axes.set(xlim=(0.0, 1.1), xlabel="accuracy on the test split")
    overall = float(counts.diag().sum() / counts.sum().clamp_min(1))
    axes.axvline(overall, color="#c44e52", linewidth=1)
    axes.set_title(f"all classes together: {overall:.2f}", color="#c44e52", fontsize=9)  # a legend would lie over a bar
    return figure


def drawn(figure: Figure) -> Picture:
    """Returns the figure at 120 dots an inch."""
    figure.set_dpi(120)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once: savefig would also draw it without looking, for the layout alone
    return np.asarray(canvas.buffer_rgba())[..., :3]
