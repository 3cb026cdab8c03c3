"""The same Vision Transformer as each library builds it, each in a few lines; a library is imported only when
its model is built.

They are the libraries' own modules, at their defaults but for the sizes: no dropout, the fused attention
kernel where they have one.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """A ViT's sizes, and the batch that it is timed with."""

    name: str
    image_size: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    batch: int
    num_classes: int

    @property
    def num_tokens(self) -> int:
        return (self.image_size // self.patch_size) ** 2 + 1


VIT_TI_4 = Shape("ViT-Ti/4 at 32 px", 32, 4, 192, 12, 3, batch=64, num_classes=10)
VIT_S_16 = Shape("ViT-S/16 at 224 px", 224, 16, 384, 12, 6, batch=8, num_classes=1000)
VIT_B_16 = Shape("ViT-B/16 at 224 px", 224, 16, 768, 12, 12, batch=256, num_classes=1000)


def vitlab(shape: Shape, **options: Any) -> nn.Module:
    from vitlab.models.patch_embed import LinearPatchEmbed
    from vitlab.models.vit import VisionTransformer

    embed = LinearPatchEmbed(shape.patch_size, 3, shape.embed_dim)
    return VisionTransformer(
        embed, shape.image_size, shape.num_classes, shape.embed_dim, shape.depth, shape.num_heads, **options
    )


def vitlab_mean_pooled(shape: Shape) -> nn.Module:
    return vitlab(shape, class_token=False, global_pool="avg")


def timm(shape: Shape) -> nn.Module:
    from timm.models import VisionTransformer

    sizes = {"img_size": shape.image_size, "patch_size": shape.patch_size, "num_classes": shape.num_classes}
    return VisionTransformer(**sizes, embed_dim=shape.embed_dim, depth=shape.depth, num_heads=shape.num_heads)


def timm_explicit(shape: Shape) -> nn.Module:
    from timm.layers import set_fused_attn

    set_fused_attn(False)
    try:
        return timm(shape)
    finally:
        set_fused_attn(True)


def torchvision(shape: Shape) -> nn.Module:
    from torchvision.models import VisionTransformer

    sizes = {"image_size": shape.image_size, "patch_size": shape.patch_size, "num_classes": shape.num_classes}
    width = {"hidden_dim": shape.embed_dim, "mlp_dim": 4 * shape.embed_dim}
    return VisionTransformer(**sizes, **width, num_layers=shape.depth, num_heads=shape.num_heads)


class Logits(nn.Module):
    """Gives the logits out of what transformers' models answer."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).logits


def transformers(shape: Shape, attention: str = "sdpa") -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    sizes: dict[str, Any] = {
        "image_size": shape.image_size,
        "patch_size": shape.patch_size,
        "num_labels": shape.num_classes,
        "layer_norm_eps": 1e-6,
    }
    width = {"hidden_size": shape.embed_dim, "intermediate_size": 4 * shape.embed_dim}
    config = ViTConfig(**sizes, **width, num_hidden_layers=shape.depth, num_attention_heads=shape.num_heads)
    config._attn_implementation = attention
    return Logits(ViTForImageClassification(config))


def transformers_eager(shape: Shape) -> nn.Module:
    return transformers(shape, "eager")


def _vit_pytorch_sizes(shape: Shape) -> dict[str, Any]:
    sizes = {"image_size": shape.image_size, "patch_size": shape.patch_size, "num_classes": shape.num_classes}
    return sizes | {
        "dim": shape.embed_dim,
        "mlp_dim": 4 * shape.embed_dim,
        "depth": shape.depth,
        "heads": shape.num_heads,
    }


def vit_pytorch(shape: Shape) -> nn.Module:
    from vit_pytorch import ViT

    return ViT(**_vit_pytorch_sizes(shape))


def simple_vit(shape: Shape) -> nn.Module:
    from vit_pytorch import SimpleViT

    return SimpleViT(**_vit_pytorch_sizes(shape))


def compiled(build: Callable[[Shape], nn.Module]) -> Callable[[Shape], nn.Module]:
    """Returns a builder of the same model under `torch.compile`."""

    def build_compiled(shape: Shape) -> nn.Module:
        model = build(shape)
        model.compile()
        return model

    return build_compiled


Builder = Callable[[Shape], nn.Module]

MODELS: dict[str, Builder] = {
    "vitlab": vitlab,
    "vitlab, mean pooling (one token fewer)": vitlab_mean_pooled,
    "timm": timm,
    "torchvision": torchvision,
    "transformers": transformers,
    "vit-pytorch ViT": vit_pytorch,
    "vit-pytorch SimpleViT (one token fewer)": simple_vit,
}
COMPILED: dict[str, Builder] = {
    "vitlab, compiled": compiled(vitlab),
    "timm, compiled": compiled(timm),
    "vit-pytorch SimpleViT, compiled": compiled(simple_vit),
}
EXPLICIT: dict[str, Builder] = {
    "timm, explicit attention": timm_explicit,
    "transformers, eager attention": transformers_eager,
}
"""Faster in bfloat16 on a CPU by a switch of the library's own; slower in float32."""

PEERS = ("timm", "torchvision", "transformers", "vit-pytorch")
"""The packages whose versions stand beside the numbers."""


def contestants(precision: str, quick: bool) -> dict[str, Builder]:
    """Returns who runs on a CPU in this precision: every library, and those with a faster switch of their own
    once more."""
    return MODELS | (EXPLICIT if precision == "bf16-autocast" else {}) | ({} if quick else COMPILED)


def is_ours(name: str) -> bool:
    return name.startswith("vitlab")


def kernels_of(name: str, device: str = "cpu") -> AbstractContextManager[Any]:
    """Returns what `vitlab train` puts around its training for vitlab's models, and nothing for the
    others."""
    from vitlab.models.kernels import full_speed

    return full_speed(device) if is_ours(name) else nullcontext()


def _saved(model: Any) -> dict[str, Tensor]:
    """Returns the state dict that transformers writes to a file; in memory its names are others."""
    from safetensors.torch import load_file
    from transformers.utils import logging

    logging.disable_progress_bar()
    with TemporaryDirectory() as folder:
        model.model.save_pretrained(folder)
        return load_file(Path(folder, "model.safetensors"))


def differences(shape: Shape) -> dict[str, float]:
    """Returns how far vitlab's logits are from other libraries' with their weights: the largest difference
    over the largest logit."""
    from vitlab.weights.names import from_hugging_face, from_torchvision

    peers: dict[str, tuple[Builder, Callable[[Any], dict[str, Tensor]]]] = {
        "timm": (timm, lambda model: model.state_dict()),
        "torchvision": (torchvision, lambda model: from_torchvision(model.state_dict())),
        "transformers": (transformers, lambda model: from_hugging_face(_saved(model), "vit")),
    }
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, shape.image_size, shape.image_size, generator=generator)
    found = {}
    for name, (build, weights_of) in peers.items():
        peer, own = build(shape).eval(), vitlab(shape).eval()
        with torch.no_grad():
            for parameter in peer.parameters():  # biases and heads start at zero, where any two models agree
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
            own.load_state_dict(weights_of(peer))
            theirs = peer(images)
            with kernels_of("vitlab"):
                ours = own(images)
        found[name] = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    return found


def agreement(shape: Shape) -> str:
    """Returns a line that says so; raises RuntimeError where the models do not compute the same thing, within
    1e-5 relative."""
    found = differences(shape)
    said = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
    if max(found.values()) > 1e-5:
        raise RuntimeError(
            f"{shape.name}: with the same weights vitlab's logits differ from those of {said}; at most 1e-5"
            " is rounding"
        )
    return (
        f"{shape.name}: with the weights of another library vitlab's logits are that library's, relative"
        f" difference {said}."
    )
