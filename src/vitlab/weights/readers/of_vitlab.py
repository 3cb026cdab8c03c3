"""Checkpoints that `vitlab train` wrote."""

from pathlib import Path

from torch import Tensor

from vitlab.checkpoint.card import Card
from vitlab.checkpoint.reading import read_checkpoint
from vitlab.data.known_split import known_split
from vitlab.data.preprocessing import is_side
from vitlab.weights.facts import Pretrained, architecture_of
from vitlab.weights.preprocessing import CROP_MODE_OF_FIT, TheirPreprocessing, image_size_of
from vitlab.weights.readers.in_common import NORM_EPS

VIT = "vitlab.models.vit.VisionTransformer"

ARCHITECTURE = (
    "embed_dim",
    "depth",
    "num_heads",
    "mlp_ratio",
    "ffn",
    "qkv_bias",
    "qk_norm",
    "init_values",
    "class_token",
    "reg_tokens",
    "pos_embed",
    "no_embed_class",
    "global_pool",
    "norm_eps",
)
"""Arguments of `VisionTransformer` that weights decide."""

SEEN_IN_SHAPES = (
    "embed_dim",
    "depth",
    "ffn",
    "qkv_bias",
    "qk_norm",
    "class_token",
    "reg_tokens",
    "global_pool",
)
"""Those in which a checkpoint's config and its tensors cannot differ."""


def read_vitlab(path: Path, source: str) -> Pretrained:
    """Reads a checkpoint that `vitlab train` wrote."""
    try:
        checkpoint = read_checkpoint(path)
    except ValueError as error:
        raise ValueError(str(error).replace("checkpoint=", "model.weights=", 1)) from None
    card: Card = checkpoint["card"]
    model, facts = card.config["model"], card.preprocessing
    state = {
        name.removeprefix("model."): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds weights that are no tensors")
    architecture, patch_embed = {}, None
    if model.get("_target_") == VIT:
        told = architecture_of(state, image_size_of(model["image_size"]))
        architecture = (
            {"norm_eps": NORM_EPS} | told | {key: model[key] for key in ARCHITECTURE if key in model}
        )
        if wrong := next((key for key in SEEN_IN_SHAPES if architecture[key] != told[key]), None):
            raise ValueError(
                f"its config says {wrong}={str(architecture[wrong])[:40]}, and its tensors"
                f" {wrong}={told[wrong]}"
            )
        patch_embed = model["patch_embed"]
        if not isinstance(patch_embed["_target_"], str):
            raise ValueError(
                f"its model.patch_embed._target_ is {patch_embed['_target_']}, which names nothing"
            )
        if not is_side(patch_embed["patch_size"]):
            raise ValueError(
                f"its model.patch_embed.patch_size is {str(patch_embed['patch_size'])[:40]}, and no number of"
                " pixels"
            )
        architecture |= {"patch_size": patch_embed["patch_size"], "image_size": model["image_size"]}
    preprocessing = TheirPreprocessing(
        image_size=image_size_of(facts.image_size),
        crop_pct=min(facts.image_size[0] / facts.stored_size[0], 1.0),
        interpolation=facts.interpolation,
        mean=list(facts.mean),
        std=list(facts.std),
        crop_mode=CROP_MODE_OF_FIT[facts.fit],
    )
    return Pretrained(
        source,
        state,
        architecture,
        patch_embed=patch_embed,
        preprocessing=preprocessing,
        class_names=tuple(card.class_names),
        trained_on=known_split(card.data).files.get("train"),
    )
