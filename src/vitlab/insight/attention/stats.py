"""Numbers on attention by layer and head: spread, distance, prefix tokens, closeness to collapse."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitlab.insight.attention.capture import Layer, block_taps, listening, record
from vitlab.insight.attention.maps import chunk_size
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.views.anatomy import TokenLayout, View
from vitlab.insight.views.view_of import view_of
from vitlab.shapes import Images, LayerHeads, LayerTokens

COLLAPSED_ENTROPY = 0.05
"""The share of uniform attention's entropy below which a head looks at next to one token: collapse precedes
divergence (Zhai et al. 2023, arXiv:2303.06296). Here and below the line is our judgement."""

EXPLODED_LOGIT = 50.0
"""The largest attention logit beyond which softmax is one-hot and passes no gradient, as before ViT-22B
diverged (Dehghani et al. 2023, arXiv:2302.05442)."""


class AttentionStats(NamedTuple):
    """Means over images and queries by [layer, head], in float32 on the CPU.

    `entropy` of a query's row is a share of log(number of tokens): 0 where it looks at one token, 1 where it
    looks everywhere alike. `distance` is in pixels, from a patch to the patches that it attends to, weighted
    by attention among patches alone: prefix tokens do not count. `class_mass` and `register_mass` say how
    much patches attend to class tokens and to registers, 0 to 1. `max_logit` is the largest score of any
    query, key and image. `token_norms` [layer, image, token] are Euclidean norms of tokens after the layer.
    """

    entropy: LayerHeads
    distance: LayerHeads
    class_mass: LayerHeads
    register_mass: LayerHeads
    max_logit: LayerHeads
    token_norms: LayerTokens


def patch_distances(layout: TokenLayout, images: Images) -> Tensor:
    """Returns the distances in pixels between the centres of patches, [patches, patches]."""
    rows, columns = layout.grid
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows) * (height / rows), torch.arange(columns) * (width / columns), indexing="ij"
    )
    centres = torch.stack([y.flatten(), x.flatten()], dim=1).to(images.device)
    return torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")


def attention_stats(model: nn.Module | View, images: Images) -> AttentionStats:
    """Returns the numbers of all layers and heads; one layer's attention exists at a time."""
    view = view_of(model)
    with looked_at(view.model), torch.no_grad():
        layout = view.layout(images)
        prefix, num_class_tokens = layout.num_prefix_tokens, layout.num_class_tokens
        distances = patch_distances(layout, images)
        num_layers, num_heads = len(view.attentions), view.attentions[0].num_heads
        entropy, distance, class_mass, register_mass = images.new_zeros(
            4, num_layers, num_heads, dtype=torch.float32
        )
        max_logit = torch.full_like(entropy, -torch.inf)
        norms: list[list[Tensor]] = [[] for _ in view.blocks]

        def visit(index: int, layer: Layer) -> None:
            scores = layer.scores()
            max_logit[index] = torch.maximum(max_logit[index], scores.amax(dim=(0, 2, 3)))
            # the softmax of patches alone is attention renormalised over them, however little of it there is
            among_patches = scores[:, :, prefix:, prefix:].softmax(dim=-1)
            distance[index] += (among_patches.sum(dim=0) * distances).sum(dim=(1, 2)) / len(distances)
            probabilities = torch.softmax(scores, dim=-1, out=scores)
            on_prefix = probabilities[:, :, prefix:, :prefix].mean(dim=2).sum(dim=0)
            class_mass[index] += on_prefix[:, :num_class_tokens].sum(dim=1)
            register_mass[index] += on_prefix[:, num_class_tokens:].sum(dim=1)
            entropy[index] += torch.special.entr(probabilities).sum(dim=-1).mean(dim=2).sum(dim=0)

        blocks = [
            (tap, lambda tokens, kept=kept: kept.append(tokens.float().norm(dim=-1).cpu()))
            for tap, kept in zip(block_taps(view), norms, strict=True)
        ]
        with record(view, visit), listening(blocks):
            for chunk in images.split(chunk_size(view, layout)):
                view.logits(chunk)
        means = [(total / len(images)).cpu() for total in (entropy, distance, class_mass, register_mass)]
        means[0] = (
            means[0] / math.log(layout.num_tokens) if layout.num_tokens > 1 else torch.ones_like(means[0])
        )
        return AttentionStats(
            *means, max_logit=max_logit.cpu(), token_norms=torch.stack([torch.cat(parts) for parts in norms])
        )


def alarms(stats: AttentionStats) -> list[str]:
    """Returns a line for each layer and head, from 1, whose attention (nearly) collapsed or is NaN."""
    lines = []
    for layer, head in (
        (~(stats.entropy >= COLLAPSED_ENTROPY) | ~(stats.max_logit <= EXPLODED_LOGIT)).nonzero().tolist()
    ):
        entropy, logit = float(stats.entropy[layer, head]), float(stats.max_logit[layer, head])
        signs = (
            [f"entropy {entropy:.3f} is below {COLLAPSED_ENTROPY}"]
            if not entropy >= COLLAPSED_ENTROPY
            else []
        )
        signs += (
            [f"largest logit {logit:.1f} is above {EXPLODED_LOGIT:.0f}"]
            if not logit <= EXPLODED_LOGIT
            else []
        )
        lines.append(f"attention of layer {layer + 1}, head {head + 1}: {' and '.join(signs)}")
    return lines
