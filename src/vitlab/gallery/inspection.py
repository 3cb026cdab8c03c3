"""A long look into a trained model: methods held to account, and the training callback's pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import nn

from vitlab.gallery.album import overview
from vitlab.gallery.caption import Caption
from vitlab.gallery.chronicle import Chronicle, Measured
from vitlab.gallery.look import METHODS_SHOWN, activation_of, explained, look_into
from vitlab.gallery.mosaic_game import MosaicGame, play
from vitlab.gallery.prints import Prints
from vitlab.insight.attention.stats import AttentionStats, alarms, attention_stats
from vitlab.insight.explain import CLASS_SPECIFIC
from vitlab.insight.honesty.faithfulness import Faithfulness, compare
from vitlab.insight.honesty.ground_truth import Mosaics
from vitlab.insight.honesty.likeness import class_sensitivity, image_specificity, similarity
from vitlab.insight.honesty.randomisation import NUM_IMAGES, randomisation_cascade
from vitlab.insight.views.view_of import view_of
from vitlab.pictures.drawing import Picture
from vitlab.shapes import Images, Targets

NUM_STEPS = 8
"""Patches are dropped in so many equal steps, one at a time where there are fewer."""


class Sample(NamedTuple):
    """Images as the model sees them, the same as photographs, and their true classes or labels."""

    images: Images
    labels: Targets
    photographs: Sequence[Picture]


class MosaicSample(NamedTuple):
    """Mosaics as the model sees them, the first also as photographs."""

    mosaics: Mosaics
    photographs: Sequence[Picture]


class Trust(NamedTuple):
    """How far one method can be trusted on this model, means over images; all but `specificity` are rank
    correlations of maps.

    `like_untrained`: with the untrained model's map. `specificity`: 1 minus the correlation with other
    images' maps. `between_classes`: of the two most probable classes, 1 where the method `knows_class` not.
    `cascade`: with the map after weights were destroyed, by stage.
    """

    faithfulness: Faithfulness
    like_untrained: float
    specificity: float
    between_classes: float
    knows_class: bool
    cascade: Mapping[str, float]


class Inspection(NamedTuple):
    """What was found in a model. `pictures` have the tags of the attention callback, and "mistakes"; `trust`
    is by method; `warnings` are lines on heads that collapsed or are about to. `image_side` is the longer
    side of the model's images, in pixels. `game` is a line where there was no game, and says why."""

    pictures: Mapping[str, Picture]
    stats: AttentionStats
    warnings: Sequence[str]
    trust: Mapping[str, Trust]
    num_scored: int
    image_side: int
    game: MosaicGame | str


def look_through(
    model: nn.Module,
    untrained: nn.Module,
    sample: Sample,
    mistakes: Sample | None,
    mosaics: MosaicSample | str,
    class_names: Sequence[str],
    methods: Sequence[str],
    moment: str,
    told: Callable[[str], None] = lambda words: None,
) -> Inspection:
    """Returns what was found. All images of `sample` are scored, and those with a photograph are drawn;
    `moment` stands on the pictures. `mosaics` may be a line of why there are none. `told` is called with what
    comes next, at each of several steps of about equal length."""
    steps = iter(range(1, len(methods) + 5))

    def begin(words: str) -> None:
        told(f"{next(steps)} of {len(methods) + 4}: {words}")

    begin("maps by every method, of the model and of the untrained one")
    view, fresh = view_of(model), view_of(untrained)
    images = sample.images
    names = list(dict.fromkeys([*methods, *METHODS_SHOWN]))
    maps, before = (explained(one, images, names) for one in (view, fresh))
    num_steps = min(NUM_STEPS, maps[names[0]][0].numel())
    begin("patches dropped in the order of every map")
    proofs = compare(view, images, maps, num_steps=num_steps, activation=activation_of(sample.labels))
    trust = {}
    for method in methods:
        begin(f"{method}, with every layer's weights destroyed in turn")
        trust[method] = Trust(
            proofs[method],
            similarity(maps[method], before[method]).mean().item(),
            image_specificity(maps[method]),
            class_sensitivity(view, images, method),
            method in CLASS_SPECIFIC,
            randomisation_cascade(view, images[:NUM_IMAGES], method),
        )
    begin("numbers by layer and head, and pictures")
    stats = attention_stats(view, images)
    chronicle = Chronicle(images, sample.labels, sample.photographs, class_names)
    chronicle.untrained = before
    pictures = chronicle.frame(view, stats, moment, Measured(maps, proofs), fitted=True).pictures
    if mistakes is not None:
        of_mistakes = explained(view, mistakes.images, METHODS_SHOWN)
        look = look_into(view, mistakes.images, mistakes.labels, of_mistakes)
        beats_random = {method: proof.beats_random for method, proof in proofs.items()}
        caption = Caption("the most confident mistakes", beats_random, [], fitted=True)
        prints = Prints.of(mistakes.photographs, mistakes.labels, class_names)
        pictures["mistakes"] = overview(look, prints, caption)
    begin("the pointing game on mosaics")
    try:
        game = mosaics if isinstance(mosaics, str) else play(view, *mosaics, class_names, methods)
    except ValueError as error:
        game = str(error)
    if not isinstance(game, str):
        pictures["mosaics"] = game.picture
    return Inspection(pictures, stats, alarms(stats), trust, len(images), max(images.shape[-2:]), game)
