"""ViTs that timm saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitlab.weights.facts import Pretrained
from vitlab.weights.files import read_json, read_safetensors
from vitlab.weights.names import State
from vitlab.weights.preprocessing import image_size_of, timm_preprocessing
from vitlab.weights.readers.in_common import NORM_EPS, label_names, pretrained_of

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
"""Arguments of timm's `VisionTransformer` that tensors tell, or that matter in training only."""

TIMM_OTHERS = {"quickgelu": "does not have GELU", "_rpn_": "has its norms behind attention and MLP"}
"""What timm's names of architectures tell and tensors do not, by a part of the name."""

TAKEN_FOR_GRANTED = (
    "no config.json tells of activation, order of norms, pooling and image shape: taken to be a plain ViT's,"
    " and square"
)


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
    # old files are flat
    facts, arguments = (
        described.get("pretrained_cfg", described),
        described.get("model_args", {}),
    )
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
    names_of_classes = label_names(described.get("label_names") or facts.get("label_names"))
    told = {"preprocessing": preprocessing, "class_names": names_of_classes, "unusable_head": unusable}
    return pretrained_of(source, state, known, **told, notes=() if config else (TAKEN_FOR_GRANTED,))
