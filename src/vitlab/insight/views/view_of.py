"""The view of a model, by what the model is."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from vitlab.insight.views.anatomy import AttentionTaps, Tap, TokenLayout, View, as_it_is
from vitlab.insight.views.others import other_view_of
from vitlab.models.encoder import Block, DepthwiseConvMlp
from vitlab.models.positions import Grid
from vitlab.models.vit import VisionTransformer
from vitlab.quirks import COMPILED
from vitlab.shapes import AllTokens, Features, Images, KeptPatches, Logits

__all__ = ["AttentionTaps", "OwnView", "Tap", "TokenLayout", "View", "view_for", "view_of"]

WRAPPERS = (COMPILED, "module", "model")
"""Where what wraps a model keeps it: torch.compile, data parallelism, a classifier of Lightning."""


class OwnView(View):
    """A vitlab VisionTransformer, with any patch embedding."""

    def __init__(self, model: VisionTransformer):
        self.model = model
        self.vit = model
        self.has_head = True
        self.blocks = list(model.blocks)
        self.attentions = []
        for block in cast(Iterable[Block], model.blocks):
            attention = block.attn
            taps = [
                Tap(tap, "output", as_it_is)
                for tap in (attention.tap_q, attention.tap_k, attention.tap_v, attention.tap_out)
            ]
            scale = (model.embed_dim // attention.num_heads) ** -0.5
            self.attentions.append(
                AttentionTaps(
                    *taps,
                    scale=scale,
                    num_heads=attention.num_heads,
                    weights=Tap(attention.tap_weights, "output", as_it_is),
                )
            )

    def layout(self, images: Images) -> TokenLayout:
        num_class_tokens = 0 if self.vit.cls_token is None else 1
        return TokenLayout(
            self.vit.grid_of(images),
            num_class_tokens,
            self.vit.num_prefix_tokens - num_class_tokens,
            self.vit.global_pool,
        )

    def embed(self, images: Images) -> AllTokens:
        return self.vit.embed(images)

    def encode(self, tokens: AllTokens, grid: Grid, kept: KeptPatches | None = None) -> AllTokens:
        whole = self.vit.num_prefix_tokens + grid[0] * grid[1]
        if kept is None and tokens.shape[1] != whole and isinstance(self.vit.blocks[0].mlp, DepthwiseConvMlp):
            raise ValueError(
                f"ffn=dwconv with {tokens.shape[1]} of {whole} tokens must know which patches these are; pass"
                " their indices as kept"
            )
        return self.vit.encode(tokens, grid, kept)

    def head(self, tokens: AllTokens) -> Logits | Features:
        return self.vit.forward_head(tokens)

    def run(self, images: Images) -> Logits | Features:
        return self.vit(images)


FROM_FILES = "vitlab.load(checkpoint).images(files) gives them"


def view_of(model: nn.Module | View) -> View:
    """Returns the view of a model, also of a wrapped one. Raises ValueError for a model that nobody knows."""
    if isinstance(model, View):
        return model
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"a {type(model).__name__} is no torch.nn.Module; of what vitlab.load gives, .model is"
        )
    if isinstance(model, VisionTransformer):
        return OwnView(model)
    if (view := other_view_of(model)) is not None:
        return view
    for name in WRAPPERS:
        if isinstance(inner := dict(model.named_children()).get(name), nn.Module):
            return view_of(inner)
    raise ValueError(
        f"a {type(model).__name__} cannot be looked into; what has attention that vitlab can read would work:"
        " a VisionTransformer of vitlab or timm, and Hugging Face's ViT, DeiT and DINOv2, bare or"
        " ForImageClassification"
    )


def view_for(model: nn.Module | View, images: Tensor) -> View:
    """Returns the view of a model that is to look at these images. Raises TypeError where they are no tensor,
    and ValueError where they are not what a model sees."""
    view = view_of(model)
    if not isinstance(images, Tensor):
        raise TypeError(f"images={type(images).__name__}: a tensor would work, as {FROM_FILES}")
    if images.ndim != 4 or not images.is_floating_point() or images.dtype == torch.float64:
        raise ValueError(
            f"images of {images.dtype}, {list(images.shape)}: [batch, channels, height, width] in float32"
            f" would work, as {FROM_FILES}"
        )
    return view
