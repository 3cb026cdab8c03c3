"""A look at one photograph: what the model says of it, and where in the photograph the reasons lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitlab.data.files.decode import MAX_MEGAPIXELS
from vitlab.data.files.fit import with_bars
from vitlab.data.preprocessing import Preprocessing
from vitlab.gallery.packing import PackedAttention, pack_attention
from vitlab.gallery.seen import Rectangle, hatched, map_on_original, overlay_on_original, seen_rectangle
from vitlab.insight.explain import CLASS_SPECIFIC, explain
from vitlab.insight.honesty.faithfulness import Activation, compare
from vitlab.pictures.drawing import Picture, fit, fitting_range, in_uniform, shrink
from vitlab.pictures.sheets import Row, Text, sheet, uniform_bar
from vitlab.shapes import Heatmap, Images, Labels

MAX_SIDE = 1024
"""Photographs are shown with their longer side at most so many pixels long."""

PANEL = 420
"""About the longer side of a photograph on the sheet, in pixels."""

NUM_STEPS = 8
"""Patches are dropped in so many equal steps, one at a time where there are fewer."""

COPIES = 8
"""Of a single picture, so that its score is held against several times as many random orders."""


class Score(NamedTuple):
    """Areas from 0 to 1 under the predicted class's probability while patches are dropped (`deletion`, low is
    good) or added (`insertion`); for random orders their mean, and the deviation of one (`spread`)."""

    deletion: float
    insertion: float
    random: float
    spread: float

    @property
    def beats_random(self) -> bool:
        """Whether dropping by the map is worse for the class than nearly every random order."""
        return self.random - self.deletion > 2 * self.spread


class Finding(NamedTuple):
    """What a method says: a number a patch, summing to 1, and how well it stands the test here."""

    heat: Float[Tensor, "rows columns"]
    score: Score
    class_specific: bool


class PhotographLook(NamedTuple):
    """`shown` is the whole photograph (where it was padded, with its bars) at `scale` times its own (height,
    width); `seen` is in the photograph's own pixels."""

    name: str
    shown: Picture
    scale: float
    size: tuple[int, int]
    seen: Rectangle
    answer: Sequence[tuple[str, float]]
    findings: Mapping[str, Finding]
    attention: PackedAttention


def _scores(
    model: nn.Module,
    image: Images,
    maps: Mapping[str, Heatmap],
    target: Labels | None,
    activation: Activation,
) -> dict[str, Score]:
    copies = {method: heat.expand(COPIES, -1, -1) for method, heat in maps.items()}
    num_patches = next(iter(maps.values()))[0].numel()
    results = compare(
        model,
        image.expand(COPIES, -1, -1, -1),
        copies,
        None if target is None else target.expand(COPIES),
        num_steps=min(NUM_STEPS, num_patches),
        activation=activation,
    )
    areas = {name: (one.deletion, one.insertion, one.random) for name, one in results.items()}
    return {name: Score(*of_map, results[name].random_spread) for name, of_map in areas.items()}


def look_at_photograph(
    model: nn.Module,
    path: Path,
    name: str,
    image: Images,
    preprocessing: Preprocessing,
    answer: Sequence[tuple[str, float]],
    methods: Sequence[str],
    max_megapixels: int = MAX_MEGAPIXELS,
    target: int | None = None,
    activation: Activation = "softmax",
) -> PhotographLook:
    """Returns what there is to see; `image` is the file as the model takes it, a batch of one; `target` is
    the class explained, by default the answer. Raises ValueError for a file that is no image."""
    picture = preprocessing.read_for_people(path, max_megapixels)
    if preprocessing.fit == "pad":  # what the model saw of the bars is shown, too
        picture = with_bars(picture, preprocessing.stored_size)
    size = (picture.shape[0], picture.shape[1])
    shown, scale = shrink(picture, MAX_SIDE), min(1.0, MAX_SIDE / max(size))
    asked = None if target is None else torch.tensor([target])
    maps = {method: explain(model, image, method, asked) for method in methods}
    scores = _scores(model, image, maps, asked, activation)
    findings = {name: Finding(heat[0], scores[name], name in CLASS_SPECIFIC) for name, heat in maps.items()}
    seen = seen_rectangle(size, preprocessing.stored_size, preprocessing.image_size, preprocessing.fit)
    return PhotographLook(name, shown, scale, size, seen, answer, findings, pack_attention(model, image))


def as_sheet(look: PhotographLook) -> Picture:
    """Draws the photograph, and for each method its overlay above the map alone; the colours hold the map's
    largest value."""
    picture = fit(look.shown, PANEL)
    seen = look.seen.scaled(look.scale * max(picture.shape[:2]) / max(look.shown.shape[:2]))
    name, probability = look.answer[0]
    overlays: list[Picture | None] = [hatched(picture, seen)]
    maps: list[Picture | None] = [None]
    unseen = [] if (overlays[0] == picture).all() else [Text("hatched: never seen by the model")]
    columns, bars = [[Text("photograph"), *unseen]], []
    for method, finding in look.findings.items():
        score = finding.score
        words = "better than random" if score.beats_random else "no better than random here"
        verdict = Text(words, warns=not score.beats_random)
        areas = Text(f"deletion {score.deletion:.3f}, random {score.random:.3f}")
        columns.append([Text(method), areas, verdict])
        heat = in_uniform(finding.heat[None])[0]
        high = fitting_range(heat)
        overlays.append(overlay_on_original(picture, seen, heat, high))
        maps.append(map_on_original(picture, seen, heat, high))
        bars.append(uniform_bar(high, f"{method}, times uniform; the largest is {heat.max():.1f}"))
    others = ", ".join(f"{other} {value:.1%}" for other, value in look.answer[1:])
    footer = [Text(f"then: {others}")] if others else []
    return sheet([Row(overlays), Row(maps)], columns, f"{look.name}: {name}, {probability:.1%}", footer, bars)


def as_data(look: PhotographLook) -> dict[str, Any]:
    """Returns all that numbers can say; `seen` is in the photograph's pixels, rows go downwards."""
    return {
        "file": look.name,
        "height": look.size[0],
        "width": look.size[1],
        "seen": {edge: round(value, 3) for edge, value in look.seen._asdict().items()},
        "predictions": [{"class": name, "probability": round(value, 6)} for name, value in look.answer],
        "methods": {
            method: {
                "heatmap": [[round(value, 8) for value in row] for row in finding.heat.tolist()],
                "class_specific": finding.class_specific,
                **{key: round(value, 6) for key, value in finding.score._asdict().items()},
                "beats_random_deletion": finding.score.beats_random,
            }
            for method, finding in look.findings.items()
        },
    }
