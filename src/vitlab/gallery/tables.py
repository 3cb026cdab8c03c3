"""Tables of numbers, each on its colour."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from vitlab.pictures.drawing import Picture, colours
from vitlab.pictures.fonts import font
from vitlab.pictures.sheets import Bar, Row, Text, sheet

NUMBER_SIZE = (22, 42)
"""Height and width of a number's cell in a table."""


NOT_THE_HEAD = "Attention and rollout do not see the head."


def _number(value: float, bar: Bar) -> Picture:
    colour = colours(torch.tensor([[value]]), bar.high, bar.low, bar.name)[0, 0]
    cell = Image.fromarray(np.broadcast_to(colour, (*NUMBER_SIZE, 3)).copy())
    ink = (0, 0, 0) if colour @ (0.299, 0.587, 0.114) > 140 else (255, 255, 255)
    words = f"{value:.2f}" if bar.high <= 10 else f"{value:.1f}"
    middle = (NUMBER_SIZE[1] / 2, NUMBER_SIZE[0] / 2)
    ImageDraw.Draw(cell).text(middle, words, font=font(11), fill=ink, anchor="mm")
    return np.asarray(cell)


def table(
    values: Float[Tensor, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    bar: Bar,
    footer: Sequence[Text] = (),
) -> Picture:
    """Each number on its colour."""
    cells = [
        Row([_number(float(value), bar) for value in line], [Text(name)])
        for line, name in zip(values, rows, strict=True)
    ]
    return sheet(cells, [[Text(name)] for name in columns], title, footer, [bar])


def by_head(values: Float[Tensor, "layers heads"], title: str, bar: Bar) -> Picture:
    """A number for each head of each layer."""
    layers, heads = (
        [f"{name} {index + 1}" for index in range(count)]
        for name, count in zip(("layer", "h"), values.shape, strict=True)
    )
    return table(values, layers, heads, title, bar)


def cascade(correlations: Mapping[str, Mapping[str, float]], moment: str) -> Picture:
    """What is left of each method's map when weights are destroyed: rank correlations by method and stage."""
    stages = list(next(iter(correlations.values())))
    bar = Bar("rank correlation with the intact model's map", 1.0, -1.0, (-1, -0.5, 0, 0.5, 1), "RdBu_r")
    values = torch.tensor([list(of_method.values()) for of_method in correlations.values()])
    words = (
        "All weights from the head to the column's part are shuffled. A map that stays alike does not depend"
        " on what was learnt there."
    )
    title, footer = f"Weights destroyed, the head first · {moment}", [Text(words), Text(NOT_THE_HEAD)]
    return table(values, list(correlations), stages, title, bar, footer)
