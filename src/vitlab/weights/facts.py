"""What a file of weights tells: tensors by vitlab's names, the architecture, and preprocessing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from vitlab.models.encoder import Block
from vitlab.models.positions import Grid, sincos_2d
from vitlab.models.vit import VisionTransformer
from vitlab.weights.names import State
from vitlab.weights.preprocessing import TheirPreprocessing

SIXTEEN_HEADS = (1152, 1280, 1408, 1664)
"""Widths whose published models (So400m, H, g, G) have 16 heads; all others have heads of 64."""

LAYER_SCALE = 1e-5
"""Stands for "has layer scale": the file's own values replace it."""


RANKS = {
    "blocks.0.norm1.weight": 1,
    "blocks.0.mlp.fc1.weight": 2,
    "blocks.0.attn.q_norm.weight": 1,
    "pos_embed": 3,
    "reg_token": 3,
}
"""How many dimensions the tensors have whose shapes tell something."""


@dataclass(frozen=True)
class Pretrained:
    """Weights as read from `source`.

    `architecture` holds arguments of `VisionTransformer` by name, and `patch_size` and `image_size`, as far
    as the file tells; those in `guessed` are only usual. `patch_embed` is the config of a vitlab checkpoint's
    own. With `trunk_only` the tensors are a ResNet's. `unusable_head` says why the file's head cannot be this
    model's; `notes` are what else a user should know. `trained_on` are the files that a run of vitlab trained
    them on, as `Samples` names them.
    """

    source: str
    state: State
    architecture: Mapping[str, Any]
    guessed: frozenset[str] = frozenset()
    patch_embed: Mapping[str, Any] | None = None
    preprocessing: TheirPreprocessing | None = None
    class_names: tuple[str, ...] | None = None
    trunk_only: bool = False
    unusable_head: str | None = None
    notes: tuple[str, ...] = ()
    trained_on: Tensor | None = None


def mlp_ratio(embed_dim: int, hidden_dim: int) -> float:
    """Returns a ratio with int(embed_dim * ratio) == hidden_dim, where division may round down."""
    ratio = hidden_dim / embed_dim
    return ratio if int(embed_dim * ratio) == hidden_dim else (hidden_dim + 0.5) / embed_dim


def find_positions(
    num_positions: int, num_prefix_tokens: int, image_size: int | list[int] | None, patch_size: int | None
) -> tuple[Grid | None, bool]:
    """Returns the grid that a table of positions lies on, and whether it has positions for patches only: the
    image's, where its size is known and as many patches come out, else a square."""
    choices = [(num_positions - num_prefix_tokens, False)]
    choices += [(num_positions, True)] if num_prefix_tokens else []
    if image_size is not None and patch_size is not None:
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        rows, columns = height // patch_size, width // patch_size
        for num_patches, patches_only in choices:
            if num_patches == rows * columns:
                return (rows, columns), patches_only
    for num_patches, patches_only in choices:
        side = math.isqrt(max(num_patches, 0))
        if side and side * side == num_patches:
            return (side, side), patches_only
    return None, False


def architecture_of(state: Mapping[str, Tensor], image_size: int | list[int] | None = None) -> dict[str, Any]:
    """Returns what the shapes of a ViT's tensors tell of its architecture; images are taken to be square,
    unless their size is known. Raises ValueError where the tensors are not those of a ViT."""
    if "blocks.0.norm1.weight" not in state or "blocks.0.mlp.fc1.weight" not in state:
        raise ValueError(f"holds no ViT: its first tensors are {', '.join(list(state)[:3]) or 'none'}")
    for name, rank in RANKS.items():
        if name in state and (state[name].ndim != rank or not state[name].numel()):
            raise ValueError(
                f"its {name} is of shape {list(state[name].shape)}, and a ViT's has {rank} dimension(s), none"
                " of them empty"
            )
    embed_dim = len(state["blocks.0.norm1.weight"])
    facts: dict[str, Any] = {
        "embed_dim": embed_dim,
        "depth": next(index for index in count() if f"blocks.{index}.norm1.weight" not in state),
        "mlp_ratio": mlp_ratio(embed_dim, len(state["blocks.0.mlp.fc1.weight"])),
        "ffn": "dwconv" if "blocks.0.mlp.dwconv.weight" in state else "mlp",
        "qkv_bias": "blocks.0.attn.qkv.bias" in state,
        "qk_norm": "blocks.0.attn.q_norm.weight" in state,
        "init_values": LAYER_SCALE if "blocks.0.ls1.gamma" in state else None,
        "class_token": "cls_token" in state,
        "reg_tokens": state["reg_token"].shape[1] if "reg_token" in state else 0,
        "pos_embed": "learn" if "pos_embed" in state else "none",
        "no_embed_class": False,
        "global_pool": "avg" if "fc_norm.weight" in state else "token",
        "num_heads": 16 if embed_dim in SIXTEEN_HEADS else max(embed_dim // 64, 1),
    }
    if facts["qk_norm"]:
        facts["num_heads"] = embed_dim // len(state["blocks.0.attn.q_norm.weight"])
    patches = state.get("patch_embed.proj.weight")
    if patches is not None and patches.ndim == 4 and patches.shape[1] <= 4:
        facts["patch_size"] = patches.shape[-1]
    if "pos_embed" in state:
        num_positions, patch_size = state["pos_embed"].shape[1], facts.get("patch_size")
        prefix = int(facts["class_token"]) + facts["reg_tokens"]
        grid, facts["no_embed_class"] = find_positions(num_positions, prefix, image_size, patch_size)
        if grid is not None and patch_size is not None:
            height, width = grid[0] * patch_size, grid[1] * patch_size
            facts["image_size"] = height if height == width else [height, width]
    return facts


def _position_kind(model: VisionTransformer) -> str:
    if model.pos_embed is None:
        return "none"
    if isinstance(model.pos_embed, nn.Parameter):
        return "learn"
    table, width = model.pos_embed.cpu(), model.embed_dim
    is_2d = width % 4 == 0 and torch.equal(table, sincos_2d(model.grid, width))
    return "sincos_2d" if is_2d else "sinusoidal_1d"


def describe(model: VisionTransformer) -> dict[str, Any]:
    """Returns a model's architecture in the terms of `Pretrained.architecture`."""
    block, is_learned = model.blocks[0], isinstance(model.pos_embed, nn.Parameter)
    assert isinstance(block, Block)
    return architecture_of(model.state_dict()) | {
        "num_heads": block.attn.num_heads,
        "norm_eps": block.norm1.eps,
        "pos_embed": _position_kind(model),
        "no_embed_class": model.num_prefix_tokens > 0 and is_learned and not model.positions_on_prefix,
        "patch_size": model.patch_embed.patch_size,
    }
