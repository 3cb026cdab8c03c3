"""A forward pass in evaluation mode of the same ViT in vitlab and in the libraries people would use
instead."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from benchmarks.contest import PRECISIONS, Work, contest
from benchmarks.machine import Setting
from benchmarks.peers import PEERS, VIT_S_16, VIT_TI_4, Shape, agreement, contestants

LIBRARIES = PEERS


def make_forward(name: str, model: nn.Module, images, labels, autocast) -> Work:
    def forward() -> None:
        with torch.no_grad(), autocast():
            model(images)

    return forward


def measure(setting: Setting, shapes: Sequence[Shape] = (VIT_TI_4, VIT_S_16)) -> Iterator[str]:
    setting.use_threads()
    for shape in shapes:
        yield agreement(shape)
        for precision in PRECISIONS:
            yield from contest(
                setting,
                shape,
                precision,
                contestants(precision, setting.quick),
                make_forward,
                False,
                setting.rounds_or(5),
            )
