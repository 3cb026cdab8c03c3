"""Optimizers and learning-rate schedules, under the names that configs and checkpoints know them by."""

import math
from collections.abc import Callable
from typing import Literal

from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vitlab.optim.groups import NamedParameters, Placed, parameter_groups, place
from vitlab.optim.muon_with_adamw import MuonWithAdamW

MOST_COLOURS = 3
"""Channels of an image: a convolution that reads no more of them embeds pixels, or is depthwise."""


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"optimizer.{name}={value} must be above 0; for example {name}=1e-3")


def _require_share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"optimizer.{name}={value} must lie from 0 to below 1")


def _require_decay(weight_decay: float) -> None:
    if not weight_decay >= 0:
        raise ValueError(f"optimizer.weight_decay={weight_decay} must be 0 or more")


def _adamw(
    placed: list[Placed], lr: float, weight_decay: float, betas: tuple[float, float] | list[float]
) -> AdamW:
    if len(betas) != 2:
        raise ValueError(f"optimizer.betas={betas} must be two numbers; for example [0.9, 0.999]")
    _require_share(**{"betas[0]": betas[0], "betas[1]": betas[1]})
    _require_decay(weight_decay)
    return AdamW(parameter_groups(placed, lr, weight_decay), betas=(betas[0], betas[1]), fused=True)


def adamw(
    named_parameters: NamedParameters,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] | list[float],
    layer_decay: float,
    frozen: list[str],
) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), fused: one kernel for all, on CPU too."""
    _require_positive(lr=lr)
    return _adamw(place(named_parameters, layer_decay, frozen), lr, weight_decay, betas)


def sgd(
    named_parameters: NamedParameters,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    layer_decay: float,
    frozen: list[str],
) -> SGD:
    """Stochastic gradient descent with momentum."""
    _require_positive(lr=lr)
    _require_share(momentum=momentum)
    _require_decay(weight_decay)
    groups = parameter_groups(place(named_parameters, layer_decay, frozen), lr, weight_decay)
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


def muon(
    named_parameters: NamedParameters,
    lr: float,
    weight_decay: float,
    momentum: float,
    adamw_lr: float,
    betas: tuple[float, float] | list[float],
    layer_decay: float,
    frozen: list[str],
) -> MuonWithAdamW:
    """Muon, scaled to AdamW's updates, for the weight matrices of `blocks` and the convolutions that read
    features; AdamW for embeddings, head, norms, biases, and convolutions depthwise or on pixels."""
    _require_positive(lr=lr, adamw_lr=adamw_lr)
    _require_share(momentum=momentum)
    hidden, rest = [], []
    for each in place(named_parameters, layer_decay, frozen):
        shape = each.parameter.shape
        in_block = "blocks." in each.name and len(shape) == 2
        reads_features = len(shape) == 4 and shape[1] > MOST_COLOURS
        (hidden if in_block or reads_features else rest).append(each)
    if not hidden:
        raise ValueError(
            "optimizer=muon: the model has no matrices in `blocks` to train, nor convolutions on features;"
            " optimizer=adamw would work"
        )
    return MuonWithAdamW(
        parameter_groups(hidden, lr, weight_decay), momentum, _adamw(rest, adamw_lr, weight_decay, betas)
    )


def warmup_schedule(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    shape: Literal["cosine", "linear", "constant"],
    warmup_ratio: float,
    warmup_epochs: float | None,
    final_lr_ratio: float,
    frozen_epochs: float,
    unfrozen_lr_ratio: float,
) -> LambdaLR:
    """Raises every group's rate linearly over the warm-up, then lets it fall in `shape` to `final_lr_ratio`
    of its peak.

    The warm-up is a share of the run, `warmup_ratio` (0.05: a twentieth of its steps), or lasts
    `warmup_epochs` where that is given.

    Groups that the optimizer calls frozen stay at rate 0 for `frozen_epochs` (-1: for ever), then follow at
    `unfrozen_lr_ratio` of the rate. Each rate is a function of the step alone, so a resume at any step goes
    on exactly. Raises ValueError for a warm-up that does not fit, and where only one of optimizer and
    schedule freezes.
    """
    if not 0 <= warmup_ratio < 1:
        raise ValueError(
            f"schedule.warmup_ratio={warmup_ratio} must lie from 0 to below 1: the share of the run in which"
            " the rate rises"
        )
    frozen_steps = round(frozen_epochs * steps_per_epoch)
    warmup_steps = round(
        warmup_ratio * total_steps if warmup_epochs is None else warmup_epochs * steps_per_epoch
    )
    if warmup_epochs is None:
        warmup_steps = min(warmup_steps, max(total_steps - 1, 0))
    elif warmup_epochs < 0 or warmup_steps >= total_steps > 0:
        raise ValueError(
            f"schedule.warmup_epochs={warmup_epochs} ({warmup_steps} steps) does not fit in a run of"
            f" {total_steps} steps; 0 to below {total_steps / steps_per_epoch:g} would work"
        )
    if not 0 <= final_lr_ratio <= 1:
        raise ValueError(
            f"schedule.final_lr_ratio={final_lr_ratio} must lie from 0 to 1: the share of the rate that is"
            " left at the end"
        )
    if (frozen_epochs < 0 and frozen_epochs != -1) or unfrozen_lr_ratio < 0:
        raise ValueError(
            f"schedule: {frozen_epochs=} must be 0 or more, or -1 for ever; {unfrozen_lr_ratio=} must be 0 or"
            " more"
        )
    if frozen_steps >= total_steps > 0:
        raise ValueError(
            f"schedule.frozen_epochs={frozen_epochs} is no shorter than the run; -1 freezes for ever"
        )
    freezes = frozen_epochs != 0 or unfrozen_lr_ratio != 1.0
    any_frozen = any(group.get("frozen") for group in optimizer.param_groups)
    if freezes and not any_frozen:
        raise ValueError(
            f"schedule: {frozen_epochs=} and {unfrozen_lr_ratio=} need optimizer.frozen, for example"
            " [patch_embed]"
        )
    if any_frozen and not freezes:
        raise ValueError(
            "optimizer.frozen has no effect with schedule.frozen_epochs=0; give a number of epochs, or -1 for"
            " ever"
        )

    def ratio(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if shape == "constant":
            return 1.0
        progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        fall = progress if shape == "linear" else (1.0 - math.cos(math.pi * progress)) / 2.0
        return 1.0 - (1.0 - final_lr_ratio) * fall

    def frozen_ratio(step: int) -> float:
        return 0.0 if frozen_epochs == -1 or step < frozen_steps else unfrozen_lr_ratio * ratio(step)

    lambdas: list[Callable[[int], float]] = [
        frozen_ratio if group.get("frozen") else ratio for group in optimizer.param_groups
    ]
    return LambdaLR(optimizer, lambdas)
