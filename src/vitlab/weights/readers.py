"""From files on this disk to `Pretrained`, for each library that writes them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitlab.checkpoint import read_checkpoint
from vitlab.weights import names
from vitlab.weights.facts import Preprocessing, Pretrained, architecture_of
from vitlab.weights.files import read_json, read_npz, read_safetensors, read_torch
from vitlab.weights.names import State

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

NORM_EPS = 1e-6
"""Of timm's, torchvision's and Google's ViTs."""

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

PILLOW_RESAMPLING = {2: "bilinear", 3: "bicubic"}


def _pretrained(source: str, state: State, known: Mapping[str, Any], **more: Any) -> Pretrained:
    """Joins what shapes tell with what else is known, which wins."""
    try:
        facts = architecture_of(state, known.get("image_size"))
    except ValueError as error:
        raise ValueError(f"model.weights={source} {error}") from None
    known = {key: value for key, value in known.items() if value is not None}
    guessed = frozenset() if "num_heads" in known or facts["qk_norm"] else frozenset({"num_heads"})
    return Pretrained(source, state, facts | known, guessed, **more)


def _one_or_two(size: list[int]) -> int | list[int]:
    return size[0] if size[0] == size[1] else size


def read_vitlab(path: Path, source: str) -> Pretrained:
    """Reads a checkpoint that `vitlab train` wrote."""
    try:
        checkpoint = read_checkpoint(path)
    except ValueError as error:
        raise ValueError(str(error).replace("checkpoint=", "model.weights=", 1)) from None
    card = checkpoint["vitlab"]
    model, facts = card["config"]["model"], card["preprocessing"]
    state = {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items() if name.startswith("model.")}
    architecture, patch_embed = {}, None
    if model.get("_target_") == VIT:
        # an old checkpoint's config lacks keys that came later
        architecture = {"norm_eps": NORM_EPS} | architecture_of(state) | {key: model[key] for key in ARCHITECTURE if key in model}
        patch_embed = model["patch_embed"]
        architecture |= {"patch_size": patch_embed["patch_size"], "image_size": model["image_size"]}
    preprocessing = Preprocessing(
        image_size=_one_or_two(facts["image_size"]),
        crop_pct=min(facts["image_size"][0] / facts["stored_size"][0], 1.0),
        interpolation=facts.get("interpolation", "bicubic"),  # an old checkpoint lacks it
        mean=facts["mean"],
        std=facts["std"],
    )
    return Pretrained(
        source,
        state,
        architecture,
        patch_embed=patch_embed,
        preprocessing=preprocessing,
        class_names=tuple(card["class_names"]),
    )


def _timm_preprocessing(facts: Mapping[str, Any]) -> Preprocessing | None:
    if not {"input_size", "mean", "std"} <= facts.keys():
        return None
    return Preprocessing(
        image_size=_one_or_two(list(facts["input_size"][1:])),
        crop_pct=facts.get("crop_pct", 0.875),  # timm's own default
        interpolation="bilinear" if facts.get("interpolation") == "bilinear" else "bicubic",
        mean=list(facts["mean"]),
        std=list(facts["std"]),
    )


def _label_names(labels: Any) -> tuple[str, ...] | None:
    """Returns class names from a list, or from a mapping by index; None where there are none but placeholders."""
    if isinstance(labels, dict):
        try:
            labels = [labels[key] for key in sorted(labels, key=int)]
        except ValueError:
            return None
    if not labels or all(str(label).startswith("LABEL_") for label in labels):
        return None
    return tuple(str(label) for label in labels)


def read_timm(weights: Path, config: Path | None, source: str) -> Pretrained:
    """Reads a ViT that timm saved; `config` is timm's config.json, if there is one."""
    state = read_safetensors(weights)
    described = read_json(config) if config else {}
    facts = described.get("pretrained_cfg", {})
    if "quickgelu" in described.get("architecture", ""):
        raise ValueError(f"model.weights={source}: {described['architecture']} does not have GELU; a model that has would work")
    if "dist_token" in state:
        state["reg_token"] = state.pop("dist_token")
    unusable = None
    if described.get("global_pool", "token") != "token" and "norm.weight" in state and "fc_norm.weight" not in state:
        unusable = f"it reads {described['global_pool']}-pooled tokens after their norm"
    preprocessing = _timm_preprocessing(facts)
    known = {"num_heads": described.get("model_args", {}).get("num_heads"), "norm_eps": NORM_EPS}
    if described.get("model_args", {}).get("img_size"):
        size = described["model_args"]["img_size"]
        known["image_size"] = size if isinstance(size, int) else _one_or_two(list(size))
    names_of_classes = _label_names(described.get("label_names") or facts.get("label_names"))
    return _pretrained(source, state, known, preprocessing=preprocessing, class_names=names_of_classes, unusable_head=unusable)


def read_torchvision(path: Path, source: str) -> Pretrained:
    """Reads the state dict of a ViT or ResNet of torchvision's."""
    return from_torchvision_state(read_torch(path), source)


def from_torchvision_state(
    state: Mapping[str, Any], source: str, preprocessing: Preprocessing | None = None, class_names: tuple[str, ...] | None = None
) -> Pretrained:
    """Returns what a state dict of torchvision's tells; without `preprocessing` its classification preset is taken."""
    if "layer1.0.conv1.weight" in state and "conv1.weight" in state:
        preset = preprocessing or Preprocessing(224, 224 / 256, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
        return Pretrained(source, names.from_torchvision_resnet(state), {}, preprocessing=preset, trunk_only=True)
    read = _pretrained(source, names.from_torchvision(state), {"norm_eps": NORM_EPS}, class_names=class_names)
    if preprocessing is None and "image_size" in read.architecture:
        size = read.architecture["image_size"]
        preprocessing = Preprocessing(size, 224 / 256 if size == 224 else 1.0, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
    return replace(read, preprocessing=preprocessing)


def _hugging_face_preprocessing(facts: Mapping[str, Any], image_size: int | list[int]) -> Preprocessing:
    """Reads an image processor's preprocessor_config.json."""

    def side(size: Any) -> int:
        return size if isinstance(size, int) else size.get("shortest_edge") or size["height"]

    stored = side(facts.get("size", image_size if isinstance(image_size, int) else image_size[0]))
    cropped = side(facts["crop_size"]) if facts.get("do_center_crop") and facts.get("crop_size") else stored
    return Preprocessing(
        image_size=cropped,
        crop_pct=min(cropped / stored, 1.0),
        interpolation=PILLOW_RESAMPLING.get(facts.get("resample", 2), "bicubic"),
        mean=list(facts.get("image_mean") or [0.5] * 3),
        std=list(facts.get("image_std") or [0.5] * 3),
    )


def read_hugging_face(weights: Path, config: Path, processor: Path | None, source: str) -> Pretrained:
    """Reads a ViT, DeiT or DINOv2 that `transformers` saved; `processor` is its image processor's file, if there is one."""
    described = read_json(config)
    model_type = described.get("model_type")
    if model_type not in names.HUGGING_FACE:
        known_types = ", ".join(names.HUGGING_FACE)
        raise ValueError(f"model.weights={source}: {config.name} says model_type={model_type}; known here: {known_types}")
    if described.get("hidden_act", "gelu") != "gelu" or described.get("use_swiglu_ffn"):
        kind = "use_swiglu_ffn=true" if described.get("use_swiglu_ffn") else f"hidden_act={described['hidden_act']}"
        raise ValueError(f"model.weights={source} has {kind}, which vitlab lacks; a model with a GELU in its MLP would work")
    state = names.from_hugging_face(read_safetensors(weights) if weights.suffix == ".safetensors" else read_torch(weights), model_type)
    image_size = described.get("image_size")
    known = {
        "num_heads": described.get("num_attention_heads"),
        "norm_eps": described.get("layer_norm_eps"),
        "image_size": _one_or_two(list(image_size)) if isinstance(image_size, list) else image_size,
        "no_embed_class": model_type == "dinov2_with_registers",
    }
    preprocessing = _hugging_face_preprocessing(read_json(processor), image_size or 224) if processor else None
    unusable = "it reads the class token and the mean of the patches" if model_type.startswith("dinov2") else None
    class_names = _label_names(described.get("id2label"))
    return _pretrained(source, state, known, preprocessing=preprocessing, class_names=class_names, unusable_head=unusable)


def read_jax(path: Path, source: str) -> Pretrained:
    """Reads an npz file of Google's ViT, whose images were resized bilinearly, not cropped, and scaled to -1 to 1."""
    arrays = read_npz(path)
    state = names.from_jax(arrays)
    query = next((value for name, value in arrays.items() if name.endswith("MultiHeadDotProductAttention_1/query/kernel")), None)
    known = {"num_heads": query.shape[1] if query is not None and query.ndim == 3 else None, "norm_eps": NORM_EPS}
    unusable = "in its file a layer stands before it (pre_logits), which vitlab lacks" if "pre_logits.fc.weight" in state else None
    read = _pretrained(source, state, known, unusable_head=unusable)
    size = read.architecture.get("image_size")
    return read if size is None else replace(read, preprocessing=Preprocessing(size, 1.0, "bilinear", [0.5] * 3, [0.5] * 3))
