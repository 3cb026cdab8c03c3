"""Parameter groups: which parameters decay, at what share of the learning rate each learns, which ones a
schedule may freeze.

A group is plain data beside its parameters (`weight_decay`, `lr`, `lr_scale`, `frozen`): a checkpoint holds
it, and a resume needs no more.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from torch import nn

NamedParameters = Iterable[tuple[str, nn.Parameter]]

NEVER_DECAYED = (
    *("cls_token", "reg_token", "pos_embed"),
    *(
        "class_token",
        "dist_token",
        "pos_embedding",
        "relative_position_bias_table",
        "layer_scale",
    ),  # of timm's and torchvision's
)
"""Tables of embeddings and scales: they have more than one dimension, but no reason to be small."""

EMBEDDINGS = re.compile(r"(cls_token|reg_token|pos_embed|patch_embed)\b")
BLOCK = re.compile(r"blocks\.(\d+)\.")
LAST_NORM = re.compile(r"norm\.")


class Placed(NamedTuple):
    """A trainable parameter, its share of the learning rate, and whether it may be frozen."""

    name: str
    parameter: nn.Parameter
    lr_scale: float
    frozen: bool

    @property
    def decays(self) -> bool:
        """Matrices and filters decay; biases, norms, layer scales and embedding tables do not."""
        return self.parameter.ndim >= 2 and self.name.rpartition(".")[2] not in NEVER_DECAYED


def layer_scales(names: Sequence[str], layer_decay: float) -> dict[str, float]:
    """Returns for each name its share of the rate, `layer_decay` to the power of the number of layers above
    it: 0.75, 0.56, 0.42, ... from the last block down.

    Layers are timm's: the embeddings, each block (the last one with the norm after it), and the head with all
    else. "BEiT" (Bao et al. 2022, arXiv:2106.08254). Raises ValueError where `layer_decay` is no share, or
    there are no blocks to count.
    """
    if not 0.0 < layer_decay <= 1.0:
        raise ValueError(
            f"optimizer.layer_decay={layer_decay} must be above 0 and at most 1, which is off; 0.75 is usual"
        )
    blocks = {name: int(found[1]) for name in names if (found := BLOCK.match(name))}
    if not blocks:
        if layer_decay < 1.0:
            raise ValueError(
                f"optimizer.layer_decay={layer_decay}: the model has no `blocks` to count; layer_decay=1.0"
                " would work"
            )
        return dict.fromkeys(names, 1.0)
    depth = max(blocks.values()) + 1

    def layer(name: str) -> int:
        if EMBEDDINGS.match(name):
            return 0
        if LAST_NORM.match(name):
            return depth
        return blocks[name] + 1 if name in blocks else depth + 1

    return {name: layer_decay ** (depth + 1 - layer(name)) for name in names}


def lies_under(name: str, prefix: str) -> bool:
    """Tells whether `name` is this parameter, or of this module: `blocks.1` has no `blocks.10.norm1.bias`."""
    return name == prefix or name.startswith(f"{prefix}.")


def _check_prefixes(names: Sequence[str], frozen: Sequence[str]) -> None:
    modules = {name.rsplit(".", cut)[0] for name in names for cut in range(name.count(".") + 1)}
    for prefix in frozen:
        if prefix not in modules:
            close = difflib.get_close_matches(prefix, sorted(modules), n=1)
            there = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(
                f"optimizer.frozen: the model has nothing called {prefix}; {hint}there are {there}, and what"
                " lies in them"
            )


def place(named_parameters: NamedParameters, layer_decay: float, frozen: Sequence[str]) -> list[Placed]:
    """Returns the trainable parameters with places. Raises ValueError where `frozen` fits none or all."""
    named = list(named_parameters)
    names = [name for name, _ in named]
    _check_prefixes(names, frozen)
    scales = layer_scales(names, layer_decay)
    placed = [
        Placed(name, parameter, scales[name], any(lies_under(name, prefix) for prefix in frozen))
        for name, parameter in named
        if parameter.requires_grad
    ]
    if frozen and all(each.frozen for each in placed):
        raise ValueError(
            f"optimizer.frozen={list(frozen)} leaves nothing to train; leave out the head, for example"
        )
    return placed


def parameter_groups(placed: Iterable[Placed], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Returns groups of equal treatment: frozen last, higher rates first, then the decaying ones."""

    def treatment(each: Placed) -> tuple[bool, float, bool]:
        return each.frozen, -each.lr_scale, not each.decays

    return [
        {
            "params": [each.parameter for each in members],
            "weight_decay": 0.0 if free else weight_decay,
            "lr": lr * -negative_scale,
            "lr_scale": -negative_scale,
            "frozen": frozen,
        }
        for (frozen, negative_scale, free), members in groupby(sorted(placed, key=treatment), treatment)
    ]
