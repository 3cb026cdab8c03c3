"""A folder for `timm.create_model("local-dir:FOLDER", pretrained=True)` and the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitlab.checkpoint.card import Card
from vitlab.export.labels import said_in_code, thresholds_of
from vitlab.export.plain_vit import ANY_MODEL, PlainViT, from_timm_arguments, plain_vit, timm_arguments
from vitlab.export.preprocessing import resize_and_crop
from vitlab.export.program import in_code
from vitlab.export.proof import hold_equal, random_images
from vitlab.models.vit import VisionTransformer
from vitlab.weights.preprocessing import CROP_MODE_OF_FIT

ARCHITECTURES = {
    (192, 12, 3): "vit_tiny_patch16_224",
    (384, 12, 6): "vit_small_patch16_224",
    (768, 12, 12): "vit_base_patch16_224",
    (1024, 24, 16): "vit_large_patch16_224",
    (1280, 32, 16): "vit_huge_patch14_224",
}
"""timm's plain ViTs by width, depth and heads: the name finds a constructor of these."""

OTHER_ARCHITECTURE = "vit_tiny_patch16_224"

NORM_EPS = 1e-6
"""Of timm's plain ViTs; no argument that JSON can hold changes it."""


def timm_weights(model: VisionTransformer) -> dict[str, Tensor]:
    """Returns the state dict, which is timm's already, with fixed positions as learned ones."""
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    return (
        weights if model.pos_embed is None else weights | {"pos_embed": model.pos_embed.detach().contiguous()}
    )


def _crop_pct(shorter_side: int, size: tuple[int, int]) -> float:
    """Returns what timm divides `size` by, and rounds down, to know how far to scale a picture."""
    exact = min(size) / shorter_side
    return exact if int(min(size) / exact) == shorter_side else min(size) / (shorter_side + 0.5)


def timm_config(vit: PlainViT, card: Card) -> dict[str, Any]:
    """Returns the content of config.json as timm's hub format has it."""
    facts, model, arguments = card.preprocessing, vit.model, timm_arguments(vit)
    view = resize_and_crop(facts)
    shape = (arguments["embed_dim"], arguments["depth"], arguments["num_heads"])
    return {
        "architecture": ARCHITECTURES.get(shape, OTHER_ARCHITECTURE),
        "num_classes": model.num_classes,
        "num_features": model.embed_dim,
        "global_pool": model.global_pool,
        "label_names": card.class_names,
        "model_args": {name: value for name, value in arguments.items() if value is not None},
        "pretrained_cfg": {
            "tag": "vitlab",
            "custom_load": False,
            "input_size": [facts.in_channels, *view.size],
            "fixed_input_size": True,
            "interpolation": facts.interpolation,
            "crop_pct": _crop_pct(view.shorter_side, view.size),
            "crop_mode": CROP_MODE_OF_FIT[facts.fit],
            "mean": list(facts.mean),
            "std": list(facts.std),
            "num_classes": model.num_classes,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


@torch.inference_mode()
def write(model: nn.Module, card: Card, folder: Path) -> None:
    """Writes model.safetensors and config.json. Raises ValueError where timm would read another model."""
    vit = plain_vit(model, "timm")
    if vit.block.norm1.eps != NORM_EPS:
        raise ValueError(
            f"format=timm knows norm_eps={NORM_EPS} only, and this model has {vit.block.norm1.eps};"
            f" {ANY_MODEL}"
        )
    save_file(timm_weights(vit.model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(timm_config(vit, card), indent=2) + "\n")

    config = json.loads((folder / "config.json").read_text())
    reread = from_timm_arguments(config["model_args"], NORM_EPS)
    reread.load_state_dict(load_file(folder / "model.safetensors"))
    images = random_images(card.preprocessing, 2)
    hold_equal(model(images), reread(images), 1e-5, "timm")


def snippet(card: Card) -> str:
    """Returns a program that asks the model about picture.jpg."""
    imports = "" if thresholds_of(card) is None else "import json\nfrom pathlib import Path\n\n"
    return f"""\
{imports}import numpy as np
import timm
import torch
from PIL import Image, ImageOps

{in_code(card.preprocessing)}

# once on the hub: "hf-hub:NAME/OF_THE_REPOSITORY"
model = timm.create_model("local-dir:.", pretrained=True).eval()
with torch.inference_mode():
    logits = model(torch.from_numpy(images)).numpy()
{said_in_code(card, 'model.pretrained_cfg["label_names"]')}"""
