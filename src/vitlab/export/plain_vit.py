"""What other libraries call a ViT: its numbers in timm's words, and what has no word there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from vitlab.models.encoder import Block, LayerScale, Mlp
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.weights.facts import mlp_ratio

ANY_MODEL = "format=onnx and format=torch_export take every model"


class PlainViT(NamedTuple):
    """A ViT that other libraries have too, its patch embedding, and one of its equal blocks."""

    model: VisionTransformer
    patch_embed: LinearPatchEmbed
    block: Block


def plain_vit(model: nn.Module, format_name: str) -> PlainViT:
    """Returns a ViT with linear patches and plain MLPs. Raises ValueError naming what it has instead."""
    if type(model) is not VisionTransformer:
        kind = f"{type(model).__name__} of {type(model).__module__}"
        raise ValueError(
            f"format={format_name} is for vitlab's own VisionTransformer, and this is a {kind}; {ANY_MODEL}"
        )
    patch_embed, block = model.patch_embed, model.blocks[0]
    assert isinstance(block, Block)
    if type(patch_embed) is not LinearPatchEmbed:
        raise ValueError(
            f"format={format_name} knows linear patches only, and this model has"
            f" {type(patch_embed).__name__}; {ANY_MODEL}"
        )
    if type(block.mlp) is not Mlp:
        raise ValueError(
            f"format={format_name} knows ffn=mlp only, and this model has {type(block.mlp).__name__};"
            f" {ANY_MODEL}"
        )
    return PlainViT(model, patch_embed, block)


def timm_arguments(vit: PlainViT) -> dict[str, Any]:
    """Returns what timm's `VisionTransformer` takes to be this model, without dropout, and with fixed
    positions as learned ones. `init_values` is any number: the weights hold layer scale's."""
    model, patch_embed, block = vit
    return {
        "img_size": list(model.image_size),
        "patch_size": patch_embed.patch_size,
        "in_chans": patch_embed.proj.in_channels,
        "num_classes": model.num_classes,
        "embed_dim": model.embed_dim,
        "depth": len(model.blocks),
        "num_heads": block.attn.num_heads,
        "mlp_ratio": mlp_ratio(model.embed_dim, block.mlp.fc1.out_features),
        "qkv_bias": block.attn.qkv.bias is not None,
        "qk_norm": isinstance(block.attn.q_norm, nn.LayerNorm),
        "init_values": 1e-5 if isinstance(block.ls1, LayerScale) else None,
        "class_token": model.cls_token is not None,
        "reg_tokens": 0 if model.reg_token is None else model.reg_token.shape[1],
        "pos_embed": "none" if model.pos_embed is None else "learn",
        "no_embed_class": not model.positions_on_prefix,
        "global_pool": model.global_pool,
    }


def from_timm_arguments(arguments: Mapping[str, Any], norm_eps: float) -> VisionTransformer:
    """Returns a fresh model from what `timm_arguments` returned."""
    shape = dict(arguments)
    image_size, patch_size, in_channels = (
        shape.pop("img_size"),
        shape.pop("patch_size"),
        shape.pop("in_chans"),
    )
    patch_embed = LinearPatchEmbed(patch_size, in_channels, shape["embed_dim"])
    return VisionTransformer(patch_embed, image_size, norm_eps=norm_eps, **shape).eval()
