"""Mosaics of four photographs, and where each method looks when it is asked for the class of one of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vitlab.gallery.caption import AMONG_PATCHES
from vitlab.gallery.prints import SIDE
from vitlab.insight.attention.maps import logits_in_chunks
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.explain import explain
from vitlab.insight.honesty.ground_truth import Mosaics, Pointing, points_into
from vitlab.insight.views.anatomy import View
from vitlab.pictures.drawing import Picture, fit, fitting_range, in_uniform, overlay
from vitlab.pictures.sheets import QUARTERS, WARNING, Bar, Row, Text, sheet

WHITE = (255, 255, 255)
FRAME = 3
"""Pixels that a frame is wide."""


class MosaicGame(NamedTuple):
    """How often each method's map points into the quarter of the class asked for, and the first mosaics with
    their maps. `recognised` is the share of mosaics of which the model says that class, of all classes."""

    scores: Mapping[str, Pointing]
    num_mosaics: int
    recognised: float
    picture: Picture


def _scaled(quarter: tuple[slice, slice], factor: float) -> tuple[slice, slice]:
    rows, columns = (slice(round(factor * part.start), round(factor * part.stop)) for part in quarter)
    return rows, columns


def _framed(picture: Picture, rows: slice, columns: slice, colour: tuple[int, int, int] = WARNING) -> Picture:
    """Returns the picture with a frame just inside a part of it."""
    drawn = picture.copy()
    drawn[rows, columns] = colour
    inner = tuple(slice(part.start + FRAME, part.stop - FRAME) for part in (rows, columns))
    drawn[inner] = picture[inner]
    return drawn


def _pointing(
    picture: Picture, quarter: tuple[slice, slice], heat: Float[Tensor, "rows columns"], vmax: float
) -> Picture:
    """Returns the overlay of a map with the quarter framed, and its largest patch."""
    place = divmod(int(heat.argmax()), heat.shape[1])
    height, width = (side / count for side, count in zip(picture.shape[:2], heat.shape, strict=True))
    rows = slice(round(place[0] * height), round((place[0] + 1) * height))
    columns = slice(round(place[1] * width), round((place[1] + 1) * width))
    return _framed(_framed(overlay(picture, heat, vmax), *quarter), rows, columns, WHITE)


def play(
    view: View,
    mosaics: Mosaics,
    photographs: Sequence[Picture],
    class_names: Sequence[str],
    methods: Sequence[str],
) -> MosaicGame:
    """Returns the game's result over all mosaics; the first are drawn as `photographs`. Raises ValueError
    where the patches are too large to lie in one quarter."""
    heatmaps = {method: explain(view, mosaics.images, method, mosaics.targets) for method in methods}
    scores = {method: points_into(heat, mosaics.masks) for method, heat in heatmaps.items()}
    rows, columns = next(iter(heatmaps.values())).shape[1:]
    if min(rows, columns) < 2:
        raise ValueError(
            f"the model sees {rows} x {columns} patches, and a mosaic needs two each way; smaller patches"
            " would work"
        )
    with looked_at(view.model), torch.no_grad():
        said = logits_in_chunks(view, mosaics.images).argmax(dim=1).cpu()

    pictures = [fit(photograph, SIDE) for photograph in photographs]
    factor = pictures[0].shape[0] / photographs[0].shape[0]
    quarters = [_scaled(mosaics.quarter(index), factor) for index in range(len(pictures))]
    framed = [_framed(picture, *quarter) for picture, quarter in zip(pictures, quarters, strict=True)]
    drawn = [Row(framed, [Text("mosaic")])]
    for method, heat in heatmaps.items():
        score, shown = scores[method], in_uniform(heat[: len(pictures)])
        verdict = f"{'' if score.beats_chance else 'no '}better than chance"
        top = fitting_range(shown)
        cells = [_pointing(*one, top) for one in zip(pictures, quarters, shown, strict=True)]
        words = [Text(method), Text(f"{score.share:.0%} ± {score.error:.0%}")]
        words += [Text(verdict, warns=not score.beats_chance), Text(f"up to {top:g} ×")]
        drawn.append(Row(cells, words))
    titles = [[Text(class_names[int(target)])] for target in mosaics.targets[: len(pictures)]]
    chance = next(iter(scores.values())).chance
    title = f"Asked for the class of the framed quarter · {len(mosaics.targets)} mosaics, chance {chance:.0%}"
    bar = Bar(f"share of the row's range, which counts {AMONG_PATCHES}", 1.0, ticks=QUARTERS)
    recognised = (said == mosaics.targets.cpu()).double().mean().item()
    return MosaicGame(scores, len(mosaics.targets), recognised, sheet(drawn, titles, title, bars=[bar]))
