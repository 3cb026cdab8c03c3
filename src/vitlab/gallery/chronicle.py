"""The same images again and again while a model learns: pictures, numbers, ties between frames."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vitlab.gallery import album
from vitlab.gallery.album import three_layers
from vitlab.gallery.caption import Caption
from vitlab.gallery.look import METHODS_SHOWN, Look, activation_of, explained, look_into
from vitlab.gallery.prints import Prints
from vitlab.gallery.tables import by_head
from vitlab.gallery.weight_pictures import (
    aligned,
    feature_colours,
    filter_picture,
    input_filters,
    position_similarity,
    principal_components,
    similarity_picture,
)
from vitlab.insight.attention.stats import AttentionStats
from vitlab.insight.explain import explain
from vitlab.insight.honesty.faithfulness import Faithfulness, compare
from vitlab.insight.honesty.likeness import image_specificity, similarity
from vitlab.insight.views.anatomy import View
from vitlab.models.vit import VisionTransformer
from vitlab.pictures.drawing import Picture, fit
from vitlab.pictures.sheets import QUARTERS, Bar, Row, Text, sheet
from vitlab.shapes import Heatmap, Images, Targets

SIMILARITY_BAR = Bar(
    "cosine similarity to the position at this place in the grid", 1.0, -1.0, (-1, -0.5, 0, 0.5, 1), "viridis"
)

NUM_STEPS = 2
"""Patches are dropped in so many equal parts, a quarter of `faithfulness`'s own number: a frame stays below
half a percent of a CIFAR epoch, with the same verdicts on trained models (docs/decisions.md)."""


class Frame(NamedTuple):
    """Pictures by tag, of which `attention/evolution` is one of an animation's, and numbers by tag."""

    pictures: dict[str, Picture]
    scalars: dict[str, float]


def stats_scalars(stats: AttentionStats) -> dict[str, float]:
    """Returns a few numbers on the attention of all heads; see `AttentionStats`."""
    layers = three_layers(len(stats.entropy))
    names = {layers[0]: "first", layers[len(layers) // 2]: "middle", layers[-1]: "last"}
    scalars = {
        "attention/entropy_lowest_head": float(stats.entropy.min()),
        "attention/max_logit": float(stats.max_logit.max()),
    }
    for layer, name in names.items():
        scalars[f"attention/entropy_{name}_layer"] = float(stats.entropy[layer].mean())
        scalars[f"attention/distance_{name}_layer"] = float(stats.distance[layer].mean())
    for name, mass in (("class", stats.class_mass), ("register", stats.register_mass)):
        if mass.any():
            scalars[f"attention/{name}_mass_last_layer"] = float(mass[-1].mean())
    return scalars


class Measured(NamedTuple):
    """Heat maps by method, and how they did against a random order; of a single image nothing can be said."""

    heatmaps: Mapping[str, Heatmap]
    proofs: Mapping[str, Faithfulness]


class Chronicle:
    """Looks at `images`, of which the first are drawn as `photographs`; keeps the first frame's maps."""

    def __init__(
        self, images: Images, labels: Targets, photographs: Sequence[Picture], class_names: Sequence[str]
    ):
        self.images = images
        self.labels = labels
        self.prints = Prints.of(photographs, labels[: len(photographs)], class_names)
        self.untrained: dict[str, Heatmap] = {}
        self.earlier: dict[str, Tensor] = {}

    def measure(self, view: View) -> Measured:
        """Returns the methods' maps for the model as it is now, and how they did."""
        heatmaps = explained(view, self.images, METHODS_SHOWN)
        if len(self.images) < 2:
            return Measured(heatmaps, {})
        steps, kind = min(NUM_STEPS, heatmaps["rollout"][0].numel()), activation_of(self.labels)
        proofs = compare(view, self.images, heatmaps, num_steps=steps, with_insertion=False, activation=kind)
        return Measured(heatmaps, proofs)

    def frame(
        self, view: View, stats: AttentionStats, moment: str, measured: Measured, fitted: bool = False
    ) -> Frame:
        """Returns pictures and scores for the model as it is now; `measured` has at least the METHODS_SHOWN.
        If `fitted` these pictures stand alone, and their colours need not mean another frame's."""
        num_shown = len(self.prints.pictures)
        images = self.images[:num_shown]
        heatmaps, proofs = {name: measured.heatmaps[name] for name in METHODS_SHOWN}, measured.proofs
        of_shown = {name: maps[:num_shown] for name, maps in heatmaps.items()}
        look = look_into(view, images, self.prints.labels, of_shown)
        scalars, notes = self._scores(heatmaps, proofs)
        if look.logits.shape[1] > 1:
            second = explain(view, images, "relevance", look.logits.topk(2, dim=1).indices[:, 1])
            between = float(similarity(look.heatmaps["relevance"], second).mean())
            scalars["attention/relevance_between_classes"] = between
            notes.append(
                "Relevance for the two most probable classes of the images above has rank correlation"
                f" {between:.2f}; attention and rollout know no class."
            )
        caption = Caption(moment, {name: proof.beats_random for name, proof in proofs.items()}, notes, fitted)
        return Frame(self._pictures(view, look, stats, caption), scalars)

    def _scores(
        self, heatmaps: Mapping[str, Heatmap], proofs: Mapping[str, Faithfulness]
    ) -> tuple[dict[str, float], list[str]]:
        scalars: dict[str, float] = {}
        notes = []
        for name, maps in heatmaps.items():
            words = []
            if name in proofs:
                gain, error = proofs[name].deletion_gain, proofs[name].deletion_gain_se
                told = f"attention/{name}_deletion_gain"
                scalars |= {told: gain, f"{told}_se": error}
                words.append(f"deletion gain over a random order {gain:+.3f} ± {error:.3f}")
            if name in self.untrained and self.untrained[name] is not maps:
                like = float(similarity(maps, self.untrained[name]).mean())
                scalars[f"attention/{name}_like_untrained"] = like
                words.append(f"rank correlation with the map before training {like:.2f}")
            if len(maps) > 1:
                scalars[f"attention/{name}_image_specificity"] = specific = image_specificity(maps)
                words.append(f"image specificity {specific:.2f}")
            whose = "attention, last layer" if name == "attention" else name
            notes.append(f"{whose}: {', '.join(words) or 'one image says nothing'}")
        notes.append(f"Scores over {len(self.images)} images.")
        return scalars, notes

    def _pictures(
        self, view: View, look: Look, stats: AttentionStats, caption: Caption
    ) -> dict[str, Picture]:
        prints, moment = self.prints, caption.moment
        side = max(self.images.shape[-2:])
        unit = Bar("share of the entropy of uniform attention", 1.0, ticks=QUARTERS, name="viridis")
        far = Bar("pixels", float(side), ticks=[side * quarter for quarter in QUARTERS], name="viridis")
        far_title = f"Mean distance of attention between patches · {moment}"
        norms = stats.token_norms[:, : len(prints.pictures)]
        pictures = {
            "attention/overview": album.overview(look, prints, caption),
            "attention/heads": album.heads(look, prints, caption),
            "attention/layers_x_heads": album.layers_and_heads(look, prints, caption),
            "attention/evolution": album.evolution_frame(look, prints, caption),
            "attention/map_entropy": by_head(stats.entropy, f"Entropy of attention · {moment}", unit),
            "attention/map_distance": by_head(stats.distance, far_title, far),
            "tokens/norm": album.token_norms(norms, look, prints, caption),
            "features/pca": album.features(self._feature_colours(look), prints, caption),
        }
        if look.layout.num_prefix_tokens:
            mass, bar = (
                stats.class_mass + stats.register_mass,
                unit._replace(words="share of the patches' attention"),
            )
            title = f"Attention to class and register tokens · {moment}"
            pictures["attention/map_prefix_mass"] = by_head(mass, title, bar)
        if isinstance(view.model, VisionTransformer):
            pictures |= self._weights(view.model, caption)
        return pictures

    def _aligned(self, name: str, scores: Tensor) -> Tensor:
        if name in self.earlier and self.earlier[name].shape == scores.shape:
            scores = aligned(scores, self.earlier[name])
        self.earlier[name] = scores
        return scores

    def _feature_colours(self, look: Look) -> Tensor:
        scores = principal_components(look.features.flatten(0, 1), 3).scores
        scores = torch.nn.functional.pad(scores, (0, 3 - scores.shape[1]))
        shape = (len(look.features), *look.layout.grid)
        return feature_colours(self._aligned("features", scores)).unflatten(0, shape)

    def _weights(self, model: VisionTransformer, caption: Caption) -> dict[str, Picture]:
        filters, are_components = input_filters(model)
        if are_components:
            filters = self._aligned("filters", filters.flatten(1).T).T.unflatten(1, filters.shape[1:])
        title = "Filters of the first convolution"
        if are_components:
            title = "Principal components of the patch embedding's filters"
        cells = [fit(filter_picture(one), 56) for one in filters]
        rows = [Row(cells[start : start + 7]) for start in range(0, len(cells), 7)]
        own = "each filter has its own range, so the colours do not say how large its weights are"
        note = Text(f"Grey is zero; {own}.")
        pictures = {"weights/patch_filters": sheet(rows, title=f"{title} · {caption.moment}", footer=[note])}
        similar = position_similarity(model)
        if similar is not None:
            shown = [Row([similarity_picture(similar)])]
            is_fixed = not isinstance(model.pos_embed, torch.nn.Parameter)
            title = f"Similarity of {'fixed ' if is_fixed else ''}position embeddings · {caption.moment}"
            pictures["weights/position_similarity"] = sheet(shown, title=title, bars=[SIMILARITY_BAR])
        return pictures
