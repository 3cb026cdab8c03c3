"""timm's and Hugging Face's ViTs, known by their classes' names: neither library is imported."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from vitlab.insight.views.anatomy import AttentionTaps, Pooling, Tap, TokenLayout, View, as_it_is
from vitlab.models.positions import Grid
from vitlab.quirks import timm_tokens
from vitlab.shapes import AllTokens, Features, Images, KeptPatches, Logits


def _class_paths(module: nn.Module) -> list[str]:
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in type(module).__mro__]


def _split_heads(tensor: Tensor, num_heads: int) -> Tensor:
    return tensor.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _values_of_qkv(tensor: Tensor, num_heads: int) -> Tensor:
    return tensor.unflatten(-1, (3, num_heads, -1))[:, :, 2].transpose(1, 2)


TIMM_VIT = "timm.models.vision_transformer.VisionTransformer"
TIMM_ATTENTION = "timm.layers.attention.Attention"


class TimmView(View):
    """timm's VisionTransformer and its descendants (the distilled DeiT, hybrids), with fused attention on.
    Raises ValueError for other poolings than class or patch tokens, and for other attention."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.vit = vit = cast(Any, model)
        self.distilled = hasattr(vit, "dist_token")
        if vit.global_pool not in ("token", "avg") or (
            vit.global_pool == "avg" and getattr(vit, "pool_include_prefix", False)
        ):
            pooling = f"global_pool={vit.global_pool!r}" + (
                " over prefix tokens too" if vit.global_pool == "avg" else ""
            )
            raise ValueError(
                f"timm's {type(model).__name__} with {pooling} cannot be looked into; 'token' or 'avg' over"
                " patches would work"
            )
        self.has_head = not isinstance(vit.head, nn.Identity)
        self.blocks = list(vit.blocks)
        self.attentions = [self._taps(index, block) for index, block in enumerate(self.blocks)]

    def _taps(self, index: int, block: nn.Module) -> AttentionTaps:
        attention: Any = getattr(block, "attn", block)
        if TIMM_ATTENTION not in _class_paths(attention):
            kind = type(attention).__name__
            raise ValueError(
                f"timm's blocks.{index}: attention inside a {kind} cannot be read; a block with timm's own"
                " Attention would work"
            )
        heads = attention.num_heads
        return AttentionTaps(
            q=Tap(attention.q_norm, "output", as_it_is),
            k=Tap(attention.k_norm, "output", as_it_is),
            v=Tap(attention.qkv, "output", partial(_values_of_qkv, num_heads=heads)),
            # before a norm of the output and before the gate, which are no part of attention
            out=Tap(attention.norm, "input", partial(_split_heads, num_heads=heads)),
            scale=attention.scale,
            num_heads=heads,
        )

    def layout(self, images: Images) -> TokenLayout:
        grid = self.vit.patch_embed.dynamic_feat_size(tuple(images.shape[-2:]))
        num_class_tokens = int(self.vit.cls_token is not None) + int(self.distilled)
        pooling = "tokens" if self.distilled else self.vit.global_pool
        return TokenLayout(
            (int(grid[0]), int(grid[1])),
            num_class_tokens,
            self.vit.num_prefix_tokens - num_class_tokens,
            pooling,
        )

    def embed(self, images: Images) -> AllTokens:
        return self.vit.norm_pre(self.vit.patch_drop(timm_tokens(self.vit, self.vit.patch_embed(images))))

    def encode(self, tokens: AllTokens, grid: Grid, kept: KeptPatches | None = None) -> AllTokens:
        return self.vit.norm(self.vit.blocks(tokens))

    def head(self, tokens: AllTokens) -> Logits | Features:
        return self.vit.forward_head(tokens)


def _hugging_face(folder: str, prefix: str, **pooling: Pooling) -> dict[str, Pooling]:
    return {
        f"transformers.models.{folder}.modeling_{folder}.{prefix}{name}": value
        for name, value in pooling.items()
    }


HUGGING_FACE_POOLING: dict[str, Pooling] = {
    **_hugging_face("vit", "ViT", Model="token", ForImageClassification="token"),
    **_hugging_face(
        "deit",
        "DeiT",
        Model="token",
        ForImageClassification="token",
        ForImageClassificationWithTeacher="tokens",
    ),
    **_hugging_face("dinov2", "Dinov2", Model="token", ForImageClassification="token_avg"),
    **_hugging_face(
        "dinov2_with_registers", "Dinov2WithRegisters", Model="token", ForImageClassification="token_avg"
    ),
}


class HuggingFaceView(View):
    """Hugging Face's ViT, DeiT or DINOv2. Images of another size than the model's interpolate its positions.
    In a model without a head, the class token after the last norm stands for logits. Raises ValueError where
    the layers are built otherwise."""

    def __init__(self, model: nn.Module, pooling: Pooling):
        self.model = model
        self.pooling: Pooling = pooling
        self.base = base = cast(Any, model).base_model
        heads = [
            getattr(model, name, None) for name in ("classifier", "cls_classifier", "distillation_classifier")
        ]
        self.heads = cast(list[Callable[[Tensor], Tensor]], [head for head in heads if head is not None])
        self.has_head = any(isinstance(head, nn.Linear) for head in heads)
        self.blocks = list(base.layers if hasattr(base, "layers") else base.encoder.layer)
        self.attentions = [self._taps(block) for block in self.blocks]

    def _taps(self, block: nn.Module) -> AttentionTaps:
        attention = cast(Any, block).attention
        if not hasattr(attention, "q_proj"):
            raise ValueError(
                f"a {type(self.model).__name__} whose layers have no attention.q_proj cannot be read; a newer"
                " transformers would work"
            )
        heads = attention.num_attention_heads
        split = partial(_split_heads, num_heads=heads)
        inputs = [
            Tap(projection, "output", split)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        ]
        return AttentionTaps(
            *inputs, out=Tap(attention.o_proj, "input", split), scale=attention.scaling, num_heads=heads
        )

    def layout(self, images: Images) -> TokenLayout:
        side = self.base.embeddings.patch_embeddings.patch_size
        num_class_tokens = 2 if hasattr(self.base.embeddings, "distillation_token") else 1
        num_registers = getattr(self.base.config, "num_register_tokens", 0)
        return TokenLayout(
            (images.shape[-2] // side[0], images.shape[-1] // side[1]),
            num_class_tokens,
            num_registers,
            self.pooling,
        )

    def embed(self, images: Images) -> AllTokens:
        embeddings = self.base.embeddings
        images = images.to(embeddings.patch_embeddings.projection.weight.dtype)
        if hasattr(embeddings, "image_size"):  # ViT and DeiT interpolate on demand, DINOv2 always does
            return embeddings(
                images, interpolate_pos_encoding=tuple(images.shape[-2:]) != tuple(embeddings.image_size)
            )
        return embeddings(images)

    def encode(self, tokens: AllTokens, grid: Grid, kept: KeptPatches | None = None) -> AllTokens:
        for block in self.blocks:
            tokens = block(tokens, None)
        return self.base.layernorm(tokens)

    def head(self, tokens: AllTokens) -> Logits | Features:
        if not self.heads:
            return tokens[:, 0]
        if self.pooling == "token_avg":
            num_prefix_tokens = 1 + getattr(self.base.config, "num_register_tokens", 0)
            return self.heads[0](torch.cat([tokens[:, 0], tokens[:, num_prefix_tokens:].mean(dim=1)], dim=1))
        return torch.stack([head(tokens[:, index]) for index, head in enumerate(self.heads)]).mean(dim=0)


def other_view_of(model: nn.Module) -> View | None:
    """Returns the view of a timm or Hugging Face model, else None. Raises ValueError for inexact kinds."""
    paths = _class_paths(model)
    if TIMM_VIT in paths:
        return TimmView(model)
    for path in paths:
        if path in HUGGING_FACE_POOLING:
            return HuggingFaceView(model, HUGGING_FACE_POOLING[path])
    return None
