"""The smallest run there is, the embedded digits, put together by hand: what overhead, trust, start-up and
accuracy have in common."""

from collections.abc import Iterable
from typing import Any

import torch

from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.models.patch_embed import ConvStem
from vitlab.models.vit import VisionTransformer
from vitlab.optim import adamw, warmup_schedule

MEAN, STD = [0.3053], [0.3761]
LR, WEIGHT_DECAY = 1e-3, 0.05


def digits(batch_size: int, augment: Augment | None = None, source: Digits | None = None) -> ImageData:
    """Returns the embedded digits, or a `source` of them with other labels, loaded and split."""
    split = {"val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0}
    source = source or Digits()
    split |= {"targets": source.targets}
    data = ImageData(
        source, augment or Augment(), 8, 1, 10, batch_size, 0, **split, seed=0, mean=MEAN, std=STD
    )
    data.prepare_data()
    data.setup()
    return data


def digits_vit(seed: int = 0) -> VisionTransformer:
    """Returns the model of `experiment=digits_vit`."""
    torch.manual_seed(seed)
    return VisionTransformer(
        ConvStem(2, 1, 64), 8, 10, 64, 4, 4, mlp_ratio=2.0, class_token=False, global_pool="avg"
    )


def make_optimizer(parameters: Iterable[tuple[str, torch.nn.Parameter]]) -> torch.optim.Optimizer:
    return adamw(parameters, lr=LR, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.999), layer_decay=1.0, frozen=[])


def make_schedule(optimizer: torch.optim.Optimizer, total_steps: int, steps_per_epoch: int) -> Any:
    shape = {
        "shape": "cosine",
        "warmup_ratio": 0.0,
        "warmup_epochs": 0.0,
        "final_lr_ratio": 0.01,
        "frozen_epochs": 0,
        "unfrozen_lr_ratio": 1.0,
    }
    return warmup_schedule(optimizer, total_steps, steps_per_epoch, **shape)
