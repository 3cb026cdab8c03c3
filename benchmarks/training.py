"""A training step, forward, backward and AdamW, of the same ViT in vitlab and in the libraries people would
use instead.

All take the same batch in the same precision, the same loss, dropout nowhere, and drop old gradients before
the backward pass. The others step with `torch.optim.AdamW` as they come, vitlab with what `optimizer=adamw`
builds, which is the fused one; further rows give that to timm and to the fastest peer, so that what the
optimizer gains can be told from what the model gains.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

from benchmarks.contest import PRECISIONS, Work, contest
from benchmarks.machine import Setting
from benchmarks.peers import (
    PEERS,
    VIT_S_16,
    VIT_TI_4,
    Shape,
    agreement,
    contestants,
    is_ours,
    simple_vit,
    timm,
)
from vitlab.optim import adamw

LIBRARIES = PEERS
FUSED = ", fused AdamW"
LR, WEIGHT_DECAY = 1e-3, 0.05


def optimizer_of(name: str, model: nn.Module) -> Optimizer:
    if is_ours(name):
        return adamw(
            model.named_parameters(),
            lr=LR,
            weight_decay=WEIGHT_DECAY,
            betas=(0.9, 0.999),
            layer_decay=1.0,
            frozen=[],
        )
    return torch.optim.AdamW(
        model.parameters(), LR, weight_decay=WEIGHT_DECAY, fused=True if name.endswith(FUSED) else None
    )


def make_step(name: str, model: nn.Module, images, labels, autocast) -> Work:
    optimizer = optimizer_of(name, model)

    def step() -> None:
        with autocast():
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(setting: Setting, shapes: Sequence[Shape] = (VIT_TI_4, VIT_S_16)) -> Iterator[str]:
    setting.use_threads()
    for shape in shapes:
        yield agreement(shape)
        for precision in PRECISIONS:
            builders = contestants(precision, setting.quick) | {
                f"timm{FUSED}": timm,
                f"vit-pytorch SimpleViT{FUSED}": simple_vit,
            }
            yield from contest(setting, shape, precision, builders, make_step, True, setting.rounds_or(5))
