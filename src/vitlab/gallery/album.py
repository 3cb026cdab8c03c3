"""The pictures of a look into a model, each with the words that it needs to be read alone."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitlab.data.targets import named
from vitlab.gallery.look import Look, activation_of, one_true
from vitlab.gallery.weight_pictures import feature_picture
from vitlab.insight.honesty.faithfulness import probabilities_of
from vitlab.insight.views.anatomy import READOUT
from vitlab.models.positions import Grid
from vitlab.pictures.drawing import (
    Picture,
    colours,
    fit,
    fitting_range,
    in_uniform,
    overlay,
    spread,
    uniform_range,
)
from vitlab.pictures.sheets import Bar, Row, Text, sheet, uniform_bar
from vitlab.shapes import Labels, Targets

SIDE = 128
"""About the longer side of a photograph on a sheet, in pixels; pictures are enlarged or shrunk by whole
factors."""

NORM_RANGE = 4.0
"""Multiples of the median norm that the colours span."""


class Prints(NamedTuple):
    """Photographs for a sheet, all of one size, with their true classes or labels."""

    pictures: Sequence[Picture]
    labels: Targets
    class_names: Sequence[str]

    @property
    def true(self) -> list[str]:
        """What each photograph is, in words."""
        return [named(label, self.class_names) for label in self.labels]

    def are_right(self, classes: Labels) -> Tensor:
        """Tells for each photograph whether a class is its own, or one of its labels."""
        if self.labels.ndim == 1:
            return classes == self.labels
        return self.labels.gather(1, classes[:, None].to(self.labels.device))[:, 0] == 1

    @classmethod
    def of(cls, photographs: Sequence[Picture], labels: Targets, class_names: Sequence[str]) -> "Prints":
        return cls([fit(photograph, SIDE) for photograph in photographs], labels, class_names)

    @property
    def size(self) -> tuple[int, int]:
        return self.pictures[0].shape[0], self.pictures[0].shape[1]


class Predictions(NamedTuple):
    """What a model said: the most probable class of each image, its probability, the true class's (of several
    labels the one that is looked at), and whether it was right."""

    classes: Labels
    probabilities: Float[Tensor, " batch"]
    of_true: Float[Tensor, " batch"]
    right: Bool[Tensor, " batch"]

    @classmethod
    def of(cls, look: Look, prints: Prints) -> "Predictions":
        probabilities = probabilities_of(look.logits, activation_of(prints.labels))
        best = probabilities.max(dim=1)
        true = one_true(prints.labels)
        of_true = probabilities.gather(1, true[:, None])[:, 0]
        return cls(best.indices, best.values, of_true, prints.are_right(best.indices.cpu()))


def three_layers(num_layers: int) -> list[int]:
    """Returns the indices of the first, the middle and the last layer, fewer where there are fewer."""
    return sorted({0, (num_layers - 1) // 2, num_layers - 1})


def _describe(prints: Prints, said: Predictions, index: int) -> list[Text]:
    right, true = bool(said.right[index]), int(one_true(prints.labels)[index])
    lines = [
        Text(f"true: {prints.true[index]}"),
        Text(f"said: {prints.class_names[int(said.classes[index])]}", warns=not right),
        Text(f"with {said.probabilities[index]:.0%}"),
    ]
    which = "true" if prints.labels.ndim == 1 else prints.class_names[true]
    return lines if right else [*lines, Text(f"{which} has {said.of_true[index]:.0%}")]


AMONG_PATCHES = "times an equal share of the patches"
"""The scale of whole methods, which say nothing of other tokens."""

NO_BETTER = "no better than random"


class Page(NamedTuple):
    """What the words around all pictures of a frame have in common: when it was taken, and which methods beat
    a random order on this model.

    `beats_random` has the methods that were held against one; `notes` stand under the overview. `fitted`: the
    colours end where the maps need it, and each map is drawn alone too; else they end where those of every
    frame do.
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
        """Returns whether the method explains this model better than chance, or that nobody has measured
        it."""
        if method not in self.beats_random:
            return Text("not judged")
        return Text("better than random") if self.beats_random[method] else Text(NO_BETTER, warns=True)


ONE_BY_ONE = Text("Single heads are not judged: nobody has held them against a random order.")


def _whose(look: Look) -> Text:
    return Text(f"Attention is that of {READOUT[look.layout.pooling]}.")


def _elsewhere(look: Look, layer: int) -> list[Text]:
    return (
        [Text(f"{look.mass_elsewhere()[layer]:.0%} on other tokens")] if look.layout.num_prefix_tokens else []
    )


def overview(look: Look, prints: Prints, page: Page) -> Picture:
    """Photograph, attention of the first, middle and last layer, rollout, relevance; wrong predictions with
    the true class's relevance."""
    said = Predictions.of(look, prints)
    wrong = ~said.right
    layers = three_layers(len(look.attention))
    last = layers[-1]
    columns = [[Text("photograph")]]
    columns += [
        [
            Text(f"attention, layer {layer + 1}"),
            *_elsewhere(look, layer),
            page.verdict("attention" if layer == last else "one layer"),
        ]
        for layer in layers
    ]
    columns += [
        [Text("rollout"), page.verdict("rollout")],
        [Text("relevance"), Text("for what it said"), page.verdict("relevance")],
    ]
    if wrong.any():
        columns.append([Text("relevance"), Text("for the true class"), page.verdict("relevance")])
    heats = [look.among_patches()[layer] for layer in layers] + [
        in_uniform(look.heatmaps[name]) for name in ("rollout", "relevance")
    ]
    of_true = in_uniform(look.relevance_of_true)
    ranges = [page.range_of(heat, look.layout.grid) for heat in (*heats, of_true)]
    rows = []
    for index, picture in enumerate(prints.pictures):
        cells: list[Picture | None] = [
            picture,
            *(page.cell(picture, heat[index], top) for heat, top in zip(heats, ranges, strict=False)),
        ]
        if wrong.any():
            cells.append(page.cell(picture, of_true[index], ranges[-1]) if wrong[index] else None)
        rows.append(Row(cells, _describe(prints, said, index)))
    footer = [_whose(look), *map(Text, page.notes)]
    bar = uniform_bar(ranges[0], AMONG_PATCHES)
    if page.fitted:
        columns = [
            columns[0],
            *([*column, Text(f"up to {top:g} ×")] for column, top in zip(columns[1:], ranges, strict=False)),
        ]
        bar = Bar(
            f"share of the column's range, which counts {AMONG_PATCHES}", 1.0, ticks=(0, 0.25, 0.5, 0.75, 1)
        )
    return sheet(rows, columns, f"Where the model looks · {page.moment}", footer, [bar])


def heads(look: Look, prints: Prints, page: Page, num_images: int = 4) -> Picture:
    """The last layer's attention, head by head."""
    said = Predictions.of(look, prints)
    heat = look.in_uniform()[-1]
    top = page.range_of(heat, look.layout.grid)
    rows = []
    for index, picture in enumerate(prints.pictures[:num_images]):
        rows.append(
            Row(
                [picture, *(page.cell(picture, head, top) for head in heat[index])],
                _describe(prints, said, index),
            )
        )
    columns = [[Text("photograph")], *([Text(f"head {head + 1}")] for head in range(heat.shape[1]))]
    return sheet(
        rows,
        columns,
        f"The last layer's heads · {page.moment}",
        [_whose(look), ONE_BY_ONE],
        bars=[uniform_bar(top)],
    )


def layers_and_heads(look: Look, prints: Prints, page: Page) -> Picture:
    """Every head of every layer for the first photograph."""
    heat = look.in_uniform()[:, 0]
    top = page.range_of(heat, look.layout.grid)
    side = SIDE if heat.shape[1] <= 6 else SIDE // 2
    picture = fit(prints.pictures[0], side)
    rows = [
        Row([overlay(picture, head, top) for head in layer], [Text(f"layer {index + 1}")])
        for index, layer in enumerate(heat)
    ]
    columns = [[Text(f"head {head + 1}")] for head in range(heat.shape[1])]
    footer = [
        Text(f"On the first photograph (true: {prints.true[0]})."),
        _whose(look),
        ONE_BY_ONE,
    ]
    return sheet(rows, columns, f"Layers and heads · {page.moment}", footer, [uniform_bar(top)])


def evolution_frame(look: Look, prints: Prints, page: Page, num_images: int = 4) -> Picture:
    """One moment of an animation: the same size whatever the model says."""
    said = Predictions.of(look, prints)
    top = uniform_range(look.layout.grid)
    methods = {"attention": "last layer", "rollout": "rollout", "relevance": "relevance"}
    heats = {name: in_uniform(look.heatmaps[name]) for name in methods}
    shown = prints.pictures[:num_images]
    titles = [[Text(words)] for words in prints.true[: len(shown)]]
    right = said.right
    rows = [Row(shown, [Text("photograph")])]
    rows += [
        Row(
            [overlay(picture, heats[name][index], top) for index, picture in enumerate(shown)],
            [Text(words), page.verdict(name)],
        )
        for name, words in methods.items()
    ]
    answers = ", ".join(
        f"{said.of_true[index]:.0%}{'' if right[index] else ' (wrong)'}" for index in range(len(shown))
    )
    footer = [Text(f"probability of the true class: {answers}")]
    return sheet(rows, titles, page.moment, footer, [uniform_bar(top, AMONG_PATCHES)], room_for=NO_BETTER)


def token_norms(
    norms: Float[Tensor, "layers batch tokens"], look: Look, prints: Prints, page: Page
) -> Picture:
    """Norms of the patch tokens after the first, middle and last layer; artefacts stand out by several times
    the median."""
    patches = look.layout.on_grid(norms)
    bar = Bar("times the layer's median norm", NORM_RANGE, ticks=(0, 1, 2, 3, 4), name="viridis")
    rows = [Row(prints.pictures, [Text("photograph")])]
    for layer in three_layers(len(norms)):
        heat = patches[layer] / patches[layer].median().clamp_min(1e-12)
        cells = [
            feature_picture(torch.from_numpy(colours(one, bar.high, bar.low, bar.name) / 255.0), prints.size)
            for one in heat
        ]
        rows.append(Row(cells, [Text(f"layer {layer + 1}")]))
    titles = [[Text(words)] for words in prints.true]
    share = (patches[-1] > 3 * patches[-1].median()).double().mean()
    note = f"After the last layer {share:.1%} of the patch tokens are longer than three times the median."
    return sheet(rows, titles, f"Length of the tokens · {page.moment}", [Text(note)], [bar])


def features(shares: Float[Tensor, "batch rows columns 3"], prints: Prints, page: Page) -> Picture:
    """Three principal components of the last block's patch tokens as red, green and blue."""
    rows = [Row(prints.pictures, [Text("photograph")])]
    rows.append(Row([feature_picture(share, prints.size) for share in shares], [Text("features")]))
    titles = [[Text(words)] for words in prints.true]
    note = (
        "The first three principal components of these patches' features as red, green, blue; signs and order"
        " follow the frame before."
    )
    return sheet(rows, titles, f"What the patches are to the model · {page.moment}", [Text(note)])
