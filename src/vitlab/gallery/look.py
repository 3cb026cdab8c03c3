"""One look into a model: what attention, explanations and features say of a few images, as numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.explain import explain
from vitlab.insight.honesty.faithfulness import Activation
from vitlab.insight.views.anatomy import TokenLayout, View
from vitlab.insight.views.view_of import view_of
from vitlab.shapes import Features, Heatmap, Images, Labels, Logits, Targets

METHODS_SHOWN = ("attention", "rollout", "relevance")
"""`attention` is the last layer's, mean of the heads; see `vitlab.insight.explain.METHODS`."""


def activation_of(labels: Targets) -> Activation:
    """Returns what makes probabilities of the scores of a model that learned from such labels."""
    return "softmax" if labels.ndim == 1 else "sigmoid"


def one_true(labels: Targets) -> Labels:
    """Returns one class for each image: its own; of several labels the rarest among these images, and for one
    without any label the rarest of all."""
    if labels.ndim == 1:
        return labels
    counts = labels.long().sum(dim=0)
    rarity = torch.where(counts > 0, counts, len(labels) + 1)
    own = torch.where(labels == 1, rarity, len(labels) + 2).argmin(dim=1)
    return torch.where(labels.sum(dim=1) > 0, own, rarity.argmin())


class Look(NamedTuple):
    """Attention [layers, batch, heads, tokens] of what is read, heat maps by method, the last tokens."""

    layout: TokenLayout
    logits: Logits | Features
    attention: Float[Tensor, "layers batch heads tokens"]
    heatmaps: Mapping[str, Heatmap]
    relevance_of_true: Heatmap
    features: Float[Tensor, "batch patches channels"]

    def in_uniform(self) -> Float[Tensor, "layers batch heads rows columns"]:
        """Returns each layer's attention to the patches in multiples of uniform attention over all tokens."""
        return self.layout.on_grid(self.attention) * self.layout.num_tokens

    def among_patches(self) -> Float[Tensor, "layers batch rows columns"]:
        """Returns each layer's attention, mean of heads, in multiples of an equal share, as `heatmaps`."""
        patches = self.layout.on_grid(self.attention).mean(dim=2)
        return patches / patches.mean(dim=(2, 3), keepdim=True).clamp_min(1e-30)

    def mass_elsewhere(self) -> Float[Tensor, " layers"]:
        """Returns the share of each layer's attention on class and register tokens, mean of all."""
        return self.attention[..., : self.layout.num_prefix_tokens].sum(dim=3).mean(dim=(1, 2))


def explained(model: nn.Module | View, images: Images, methods: Sequence[str]) -> dict[str, Heatmap]:
    """Returns the methods' heat maps for the predicted classes."""
    return {method: explain(model, images, method) for method in methods}


def look_into(
    model: nn.Module | View, images: Images, labels: Targets, heatmaps: Mapping[str, Heatmap]
) -> Look:
    """Returns what there is to see for these images; `heatmaps` are what `explained` gave for them."""
    view = view_of(model)
    maps = attention_maps(view, images, query="readout")
    with looked_at(view.model), torch.no_grad():
        tokens = view.encode(view.embed(images), maps.layout.grid)
    features = tokens[:, maps.layout.num_prefix_tokens :].float().cpu()
    relevance = explain(view, images, "relevance", one_true(labels))
    return Look(maps.layout, maps.logits.float(), maps.maps[:, :, :, 0], heatmaps, relevance, features)
