"""Small curves side by side on one scale, so that they can be compared."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

COLUMNS = 5

LEAST_WIDTH = 4.6
"""Inches that a title's lines need."""


def curves_figure(
    curves: Mapping[str, tuple[Sequence[str], Sequence[float]]], clean: float, title: str
) -> Figure:
    """Draws the score under each of some changes against its strength, as names and values; `clean` is that
    of unchanged images. Scores from 0 to 1 are drawn on that scale, unless all lie below 0.2."""
    every = [clean, *(value for _, values in curves.values() for value in values)]
    scale = (min(0.0, *every), 1.0 if 0.2 <= max(every) <= 1.0 else 1.08 * max(max(every), 0.0) or 1.0)
    columns = min(COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(max(0.6 + 2.1 * columns, LEAST_WIDTH), 0.9 + 1.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for axes in panels[len(curves) :]:
        axes.axis("off")
    for axes, (name, (amounts, values)) in zip(panels, curves.items(), strict=False):
        axes.axhline(clean, color="0.6", linestyle="--", linewidth=1)
        axes.plot(range(len(values)), values, "o-", color="#3b6ea5", markersize=3)
        axes.set_xticks(range(len(values)), amounts, fontsize=7)
        axes.tick_params(axis="y", labelsize=7)
        axes.set_ylim(*scale)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9)
    return figure
