"""A table of the classes as a picture: how well each is found, the worst first."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from vitlab.pictures.figures import MAX_BARS, written

TEXT_COLUMNS = ("images", "precision", "recall", "f1", "auroc")
HEADERS = {"f1": "F1", "auroc": "AUROC"}
BAR, PRECISION, RECALL = "#a9c4e0", "#b8622f", "#1f4e79"


def _in_words(column: str, value: float) -> str:
    if column == "images":
        return f"{int(value):,}"
    return "–" if math.isnan(value) else f"{value:.2f}"


def per_class_figure(columns: Mapping[str, Tensor], class_names: Sequence[str], title: str = "") -> Figure:
    """Draws F1 of each class as a bar, precision and recall as marks on it, and all numbers; the lowest F1
    first, at most `MAX_BARS` classes. A class without images has no mark, stands last and says so."""
    order = columns["f1"].argsort(stable=True).tolist()  # nan comes last, as in `objectives.per_class`
    shown = order[:MAX_BARS]
    height = 1.5 + 0.22 * len(shown)
    figure = Figure(figsize=(9.0, height), layout="constrained")
    axes, table = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    table.axis("off")
    rows = list(range(len(shown)))
    axes.barh(rows, columns["f1"][shown].nan_to_num().numpy(), color=BAR, label="F1")
    axes.plot(columns["precision"][shown].numpy(), rows, "|", color=PRECISION, ms=9, mew=2, label="precision")
    axes.plot(columns["recall"][shown].numpy(), rows, "o", color=RECALL, ms=4, label="recall")
    for place, column in enumerate(TEXT_COLUMNS):
        x = (place + 0.9) / len(TEXT_COLUMNS)
        style: Any = {"transform": table.get_yaxis_transform(), "ha": "right", "va": "center", "fontsize": 8}
        table.text(x, -1, HEADERS.get(column, column), color="0.35", **style)
        for row, index in enumerate(shown):
            table.text(x, row, _in_words(column, float(columns[column][index])), **style)
    for row, index in enumerate(shown):
        if not columns["images"][index]:
            axes.text(0.01, row, "no images", va="center", fontsize=8, color="0.4")
    names, writing = written([str(class_names[index]) for index in shown], 8)
    axes.set_yticks(rows, names, **writing)
    axes.set_ylim(len(shown) - 0.5, -1.5)
    cut = f" ({len(shown)} of {len(order):,} classes, the lowest)" if len(shown) < len(order) else ""
    axes.set(xlim=(0.0, 1.02), xlabel=f"F1, precision and recall on the test split{cut}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        fontsize=8,
        frameon=False,
        title=title or None,
        title_fontsize=9,
    )
    return figure
