"""From files on this disk to `Pretrained`, for each library that writes them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vitlab.checkpoint.card import Card
from vitlab.checkpoint.reading import read_checkpoint
from vitlab.data.known_split import known_split
from vitlab.data.preprocessing import is_side
from vitlab.weights import names
from vitlab.weights.facts import Pretrained, architecture_of
from vitlab.weights.files import read_json, read_npz, read_safetensors, read_torch
from vitlab.weights.names import State
from vitlab.weights.preprocessing import (
    CROP_MODE_OF_FIT,
    TheirPreprocessing,
    hugging_face_preprocessing,
    image_size_of,
    timm_preprocessing,
)

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

NORM_EPS = 1e-6
"""Of timm's, torchvision's and Google's ViTs."""

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

TIMM_ARGUMENTS = {
    *(
        "img_size",
        "patch_size",
        "in_chans",
        "num_classes",
        "embed_dim",
        "depth",
        "num_heads",
        "mlp_ratio",
        "qkv_bias",
        "qk_norm",
    ),
    *(
        "init_values",
        "class_token",
        "pos_embed",
        "no_embed_class",
        "reg_tokens",
        "pre_norm",
        "fc_norm",
        "proj_bias",
        "global_pool",
    ),
    *(
        "dynamic_img_size",
        "strict_img_size",
        "weight_init",
        "fix_init",
        "drop_rate",
        "pos_drop_rate",
        "patch_drop_rate",
    ),
    *("proj_drop_rate", "attn_drop_rate", "drop_path_rate"),
}
"""Arguments of timm's `VisionTransformer` that tensors tell or that matter in training only, and the pooling,
which is looked at."""

TIMM_OTHERS = {"quickgelu": "does not have GELU", "_rpn_": "has its norms behind attention and MLP"}
"""What timm's names of architectures tell and tensors do not, by a part of the name."""

TAKEN_FOR_GRANTED = (
    "no config.json tells of activation, order of norms, pooling and image shape: taken to be a plain ViT's,"
    " and square"
)


def _pretrained(source: str, state: State, known: Mapping[str, Any], **more: Any) -> Pretrained:
    """Joins what shapes tell with what else is known, which wins."""
    facts = architecture_of(state, known.get("image_size"))
    known = {key: value for key, value in known.items() if value is not None}
    guessed = frozenset() if "num_heads" in known or facts["qk_norm"] else frozenset({"num_heads"})
    return Pretrained(source, state, facts | known, guessed, **more)


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


def _label_names(labels: Any) -> tuple[str, ...] | None:
    """Returns class names from a list, or from a mapping by index; None where there are none but
    placeholders."""
    if isinstance(labels, dict):
        try:
            labels = [labels[key] for key in sorted(labels, key=int)]
        except ValueError:
            return None
    if not labels or all(str(label).startswith("LABEL_") for label in labels):
        return None
    return tuple(str(label) for label in labels)


def _check_timm(described: Mapping[str, Any], pool: str, state: State) -> None:
    """Raises ValueError where timm computes something else than vitlab with tensors of these names."""
    architecture, arguments = str(described.get("architecture", "")), described.get("model_args", {})
    for part, what in TIMM_OTHERS.items():
        if part in architecture:
            raise ValueError(
                f"{architecture} {what}; a model that is as timm's vit_base_patch16_224 would work"
            )
    for key, value in arguments.items():
        if (
            key not in TIMM_ARGUMENTS
            and value is not None
            and (key, value) not in (("act_layer", "gelu"), ("final_norm", True))
        ):
            raise ValueError(f"its model_args say {key}={value}, which vitlab lacks or does not know")
    pool = "attention" if any(name.startswith("attn_pool.") for name in state) else pool
    if pool not in ("token", "avg"):
        raise ValueError(f"it pools by {pool}, which vitlab lacks; a model with a class token would work")
    if "norm.weight" in state and not {"cls_token", "fc_norm.weight"} & state.keys():
        raise ValueError(
            "it pools after its norm, and vitlab before; a model with fc_norm or a class token would work"
        )


def read_timm(weights: Path, config: Path | None, source: str) -> Pretrained:
    """Reads a ViT that timm saved; `config` is timm's config.json, if there is one."""
    state = read_safetensors(weights)
    described = read_json(config) if config else {}
    facts, arguments = (
        described.get("pretrained_cfg", described),
        described.get("model_args", {}),
    )  # old files are flat
    pool = described.get("global_pool", arguments.get("global_pool", "token"))
    _check_timm(described, pool, state)
    if "dist_token" in state:
        state["reg_token"] = state.pop("dist_token")
    unusable = None
    if pool != "token" and "norm.weight" in state and "fc_norm.weight" not in state:
        unusable = f"it reads {pool}-pooled tokens after their norm"
    preprocessing = timm_preprocessing(facts)
    known = {"num_heads": arguments.get("num_heads"), "norm_eps": NORM_EPS}
    if arguments.get("img_size"):
        known["image_size"] = image_size_of(arguments["img_size"])
    elif preprocessing:
        known["image_size"] = preprocessing.image_size
    names_of_classes = _label_names(described.get("label_names") or facts.get("label_names"))
    told = {"preprocessing": preprocessing, "class_names": names_of_classes, "unusable_head": unusable}
    return _pretrained(source, state, known, **told, notes=() if config else (TAKEN_FOR_GRANTED,))


def read_torchvision(path: Path, source: str) -> Pretrained:
    """Reads the state dict of a ViT or ResNet of torchvision's."""
    return from_torchvision_state(read_torch(path), source)


def from_torchvision_state(
    state: Mapping[str, Any],
    source: str,
    preprocessing: TheirPreprocessing | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Pretrained:
    """Returns what a state dict of torchvision's tells; without `preprocessing` its classification preset is
    taken."""
    if "layer1.0.conv1.weight" in state and "conv1.weight" in state:
        preset = preprocessing or TheirPreprocessing(224, 224 / 256, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
        return Pretrained(
            source, names.from_torchvision_resnet(state), {}, preprocessing=preset, trunk_only=True
        )
    read = _pretrained(source, names.from_torchvision(state), {"norm_eps": NORM_EPS}, class_names=class_names)
    if preprocessing is None and "image_size" in read.architecture:
        size = read.architecture["image_size"]
        preprocessing = TheirPreprocessing(
            size, 224 / 256 if size == 224 else 1.0, "bilinear", IMAGENET_MEAN, IMAGENET_STD
        )
    return replace(read, preprocessing=preprocessing)


def read_hugging_face(weights: Path, config: Path, processor: Path | None, source: str) -> Pretrained:
    """Reads a ViT, DeiT or DINOv2 that `transformers` saved; `processor` is its image processor's file, if
    there is one."""
    described = read_json(config)
    model_type = described.get("model_type")
    if model_type not in names.HUGGING_FACE:
        known_types = ", ".join(names.HUGGING_FACE)
        raise ValueError(
            f"model.weights={source}: {config.name} says model_type={model_type}; known here: {known_types}"
        )
    if described.get("hidden_act", "gelu") != "gelu" or described.get("use_swiglu_ffn"):
        kind = (
            "use_swiglu_ffn=true"
            if described.get("use_swiglu_ffn")
            else f"hidden_act={described['hidden_act']}"
        )
        raise ValueError(
            f"model.weights={source} has {kind}, which vitlab lacks; a model with a GELU in its MLP would"
            " work"
        )
    state = names.from_hugging_face(
        read_safetensors(weights) if weights.suffix == ".safetensors" else read_torch(weights), model_type
    )
    image_size = described.get("image_size")
    known = {
        "num_heads": described.get("num_attention_heads"),
        "norm_eps": described.get("layer_norm_eps"),
        "image_size": image_size_of(image_size) if image_size is not None else None,
        "no_embed_class": model_type == "dinov2_with_registers",
    }
    preprocessing = hugging_face_preprocessing(read_json(processor), image_size or 224) if processor else None
    unusable = (
        "it reads the class token and the mean of the patches" if model_type.startswith("dinov2") else None
    )
    class_names = _label_names(described.get("id2label"))
    return _pretrained(
        source, state, known, preprocessing=preprocessing, class_names=class_names, unusable_head=unusable
    )


def read_jax(path: Path, source: str) -> Pretrained:
    """Reads an npz file of Google's ViT, whose images were resized bilinearly, not cropped, and scaled to -1
    to 1."""
    arrays = read_npz(path)
    state = names.from_jax(arrays)
    query = next(
        (
            value
            for name, value in arrays.items()
            if name.endswith("MultiHeadDotProductAttention_1/query/kernel")
        ),
        None,
    )
    known = {
        "num_heads": query.shape[1] if query is not None and query.ndim == 3 else None,
        "norm_eps": NORM_EPS,
    }
    unusable = (
        "in its file a layer stands before it (pre_logits), which vitlab lacks"
        if "pre_logits.fc.weight" in state
        else None
    )
    read = _pretrained(source, state, known, unusable_head=unusable)
    size = read.architecture.get("image_size")
    return (
        read
        if size is None
        else replace(
            read, preprocessing=TheirPreprocessing(size, 1.0, "bilinear", [0.5] * 3, [0.5] * 3, "squash")
        )
    )
