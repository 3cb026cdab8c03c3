"""The same tensors by other libraries' names: Hugging Face (both ways), torchvision, Google's JAX files.
vitlab's own names are timm's.

A tensor without a counterpart keeps its name; whoever loads decides whether it may be left out.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]
"""A model's tensors by name."""

OUTSIDE_BLOCKS = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}

VIT_BLOCK = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}

DINOV2_BLOCK = {
    "norm1": "norm1",
    "attn.proj": "attention.output.dense",
    "ls1.gamma": "layer_scale1.lambda1",
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "ls2.gamma": "layer_scale2.lambda1",
}

HUGGING_FACE = {
    "vit": (OUTSIDE_BLOCKS, VIT_BLOCK),
    "deit": (OUTSIDE_BLOCKS | {"reg_token": "embeddings.distillation_token"}, VIT_BLOCK),
    "dinov2": (OUTSIDE_BLOCKS, DINOV2_BLOCK),
    "dinov2_with_registers": (OUTSIDE_BLOCKS | {"reg_token": "embeddings.register_tokens"}, DINOV2_BLOCK),
}
"""By `model_type`: vitlab's and Hugging Face's names of weights, outside blocks and inside one."""

QUERY_KEY_VALUE = ("attention.attention.query", "attention.attention.key", "attention.attention.value")

TORCHVISION = {
    "class_token": "cls_token",
    "conv_proj": "patch_embed.proj",
    "encoder.pos_embedding": "pos_embed",
    "encoder.ln": "norm",
    "heads.head": "head",
}

TORCHVISION_BLOCK = {
    "ln_1": "norm1",
    "self_attention.in_proj_weight": "attn.qkv.weight",
    "self_attention.in_proj_bias": "attn.qkv.bias",
    "self_attention.out_proj": "attn.proj",
    "ln_2": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
    "mlp.linear_1": "mlp.fc1",  # files from before torchvision 0.12
    "mlp.linear_2": "mlp.fc2",
}

JAX = {
    "cls": "cls_token",
    "embedding": "patch_embed.proj",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "Transformer/encoder_norm": "norm",
    "head": "head",
    "pre_logits": "pre_logits.fc",
}

JAX_BLOCK = {
    "LayerNorm_0": "norm1",
    "MultiHeadDotProductAttention_1/out": "attn.proj",
    "LayerNorm_2": "norm2",
    "MlpBlock_3/Dense_0": "mlp.fc1",
    "MlpBlock_3/Dense_1": "mlp.fc2",
}

JAX_ATTENTION = "MultiHeadDotProductAttention_1"


def _renamed(name: str, table: Mapping[str, str], separator: str = ".") -> str | None:
    """Returns the name by the table: as it stands there, or with its last part (weight, bias) kept."""
    if name in table:
        return table[name]
    stem, _, last = name.rpartition(separator)
    return f"{table[stem]}.{last}" if stem in table else None


def _turned(table: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in table.items()}


def from_hugging_face(state: Mapping[str, Tensor], model_type: str) -> State:
    """Returns what `transformers` saved of a `model_type` ("vit", "deit", "dinov2", "dinov2_with_registers")
    under vitlab's names.

    DeiT's distillation token becomes a register token. With DINOv2's registers the class token's position is
    folded into the token, because there no prefix token else has one: the model then needs `no_embed_class`.
    """
    outside, block = (_turned(table) for table in HUGGING_FACE[model_type])
    outside |= {"classifier": "head", "cls_classifier": "head"}
    renamed: State = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for full_name, value in state.items():
        name = full_name.removeprefix(f"{model_type}.")
        inside = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
        if inside is None:
            renamed[_renamed(name, outside) or name] = value
            continue
        number, part = inside.groups()
        stem, _, last = part.rpartition(".")
        if stem in QUERY_KEY_VALUE:
            thirds.setdefault(f"blocks.{number}.attn.qkv.{last}", {})[stem] = value
        else:
            own = _renamed(part, block)
            renamed[f"blocks.{number}.{own}" if own else name] = value
    for name, parts in thirds.items():
        if len(parts) == 3:
            renamed[name] = torch.cat([parts[third] for third in QUERY_KEY_VALUE])
    if "reg_token" in renamed and model_type == "dinov2_with_registers":
        renamed["cls_token"] = renamed["cls_token"] + renamed["pos_embed"][:, :1]
        renamed["pos_embed"] = renamed["pos_embed"][:, 1:]
    return renamed


def to_hugging_face(state: Mapping[str, Tensor], model_type: str = "vit") -> State:
    """Returns a vitlab state dict under the names that `transformers` has for this `model_type`."""
    outside, block = HUGGING_FACE[model_type]
    renamed: State = {}
    if model_type == "dinov2_with_registers":  # the class token has its position folded in
        state = dict(state) | {
            "pos_embed": torch.cat([torch.zeros_like(state["cls_token"]), state["pos_embed"]], dim=1)
        }
    for name, value in state.items():
        inside = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if inside is None:
            theirs = _renamed(name, outside)
            renamed[
                f"{model_type}.{theirs}" if theirs else _renamed(name, {"head": "classifier"}) or name
            ] = value
            continue
        number, part = inside.groups()
        layer = f"{model_type}.encoder.layer.{number}"
        if part.startswith("attn.qkv."):
            for third, rows in zip(QUERY_KEY_VALUE, value.chunk(3), strict=True):
                renamed[f"{layer}.{third}.{part.rpartition('.')[2]}"] = rows.clone()
        else:
            theirs = _renamed(part, block)
            renamed[f"{layer}.{theirs}" if theirs else name] = value
    return renamed


def from_torchvision(state: Mapping[str, Tensor]) -> State:
    """Returns the state dict of torchvision's `VisionTransformer` under vitlab's names."""
    renamed: State = {}
    for name, value in state.items():
        inside = re.fullmatch(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)", name)
        if inside:
            own = _renamed(inside[2], TORCHVISION_BLOCK)
            renamed[f"blocks.{inside[1]}.{own}" if own else name] = value
        else:
            renamed[_renamed(name, TORCHVISION) or name] = value
    return renamed


def from_torchvision_resnet(state: Mapping[str, Tensor]) -> State:
    """Returns torchvision's `ResNet` state dict by its names as the trunk of a patch embedding."""
    return {f"patch_embed.trunk.{name}": value for name, value in state.items()}


def _from_jax_layout(name: str, value: Tensor) -> tuple[str, Tensor]:
    """Turns a Flax layer's `kernel` and `scale` into torch's `weight`, whose outputs come first."""
    stem, _, last = name.rpartition(".")
    if last == "scale":
        return f"{stem}.weight", value
    if last == "kernel":
        return f"{stem}.weight", value.permute(
            3, 2, 0, 1
        ) if value.ndim == 4 else value.T  # [rows, columns, in, out] or [in, out]
    return name, value


def from_jax(state: Mapping[str, Tensor]) -> State:
    """Returns Google's arrays (github.com/google-research/vision_transformer) as vitlab's tensors."""
    renamed: State = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for full_name, value in state.items():
        name = full_name.removeprefix("opt/target/")
        inside = re.fullmatch(r"Transformer/encoderblock_(\d+)/(.+)", name)
        own = _renamed(inside[2], JAX_BLOCK, "/") if inside else _renamed(name, JAX, "/")
        if inside and own is None:
            layer, _, third = inside[2].partition("/")
            kind, _, last = third.partition("/")
            if layer == JAX_ATTENTION and kind in ("query", "key", "value") and last in ("kernel", "bias"):
                is_matrix = last == "kernel"  # [D, heads, head_dim], the bias [heads, head_dim]
                rows = value.flatten(1).T if is_matrix else value.flatten()
                thirds.setdefault(f"blocks.{inside[1]}.attn.qkv.{'weight' if is_matrix else 'bias'}", {})[
                    kind
                ] = rows
                continue
        if own is None:
            renamed[full_name] = value
            continue
        if own == "attn.proj.kernel" and value.ndim == 3:
            value = value.flatten(0, 1)  # [heads, head_dim, D]
        own, value = _from_jax_layout(own, value)
        renamed[f"blocks.{inside[1]}.{own}" if inside else own] = value.contiguous()
    for name, parts in thirds.items():
        if len(parts) == 3:
            renamed[name] = torch.cat([parts[third] for third in ("query", "key", "value")])
    return renamed
