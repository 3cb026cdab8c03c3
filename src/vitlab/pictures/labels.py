"""A picture of how well each of several labels is told."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from vitlab.pictures.figures import MAX_BARS, written

BARS = {
    "average_precision": ("average precision", "#3b6ea5"),
    "f1": ("F1 at the label's threshold", "#e0a458"),
}


def per_label_figure(of_labels: Mapping[str, Tensor], num_images: int, names: tuple[str, ...]) -> Figure:
    """Draws average precision and F1 of each label as bars, the lowest average precision first, at most
    MAX_BARS labels; on the right stands how many of the images have it. A label that no image has (nan) has
    no bar. The line in each row is the average precision of guessing: the label's share of the images."""
    order = of_labels["average_precision"].argsort(stable=True).tolist()  # nan comes last
    shown = order[:MAX_BARS]
    figure = Figure(figsize=(7.5, 1.4 + 0.34 * len(shown)), layout="constrained")
    axes, rows = figure.add_subplot(), np.arange(len(shown))
    for place, (key, (meaning, colour)) in enumerate(BARS.items()):
        values = of_labels[key][shown].nan_to_num().numpy()
        axes.barh(rows - 0.19 + 0.38 * place, values, 0.36, color=colour, label=meaning)
    counts = of_labels["images"][shown]
    chance = counts.numpy() / max(num_images, 1)
    axes.vlines(chance, rows - 0.42, rows + 0.42, color="#c44e52", linewidth=1.2, label="guessing")
    for row, count in enumerate(counts.tolist()):
        if not count:
            axes.text(0.01, row, "no images", va="center", fontsize=8, color="0.4")
        axes.text(1.02, row, f"{count:,}", va="center", fontsize=8)
    words, writing = written([names[index] for index in shown], 8)
    axes.set_yticks(rows, words, **writing)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    cut = f", the lowest {len(shown)} of {len(order):,} labels" if len(shown) < len(order) else ""
    words = f"on the test split; right: images with the label, of {num_images:,}{cut}"
    axes.set(xlim=(0.0, 1.12), xlabel=words)
    axes.set_xticks(np.linspace(0, 1, 6))
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure
