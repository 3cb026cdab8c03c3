"""Optimizers and learning-rate schedules: which parameters decay, which ones Muon takes, and the rate as a function of the step."""

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import SGD, AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR

NamedParameters = Iterable[tuple[str, nn.Parameter]]

NEVER_DECAYED = ("cls_token", "reg_token", "pos_embed")
"""Tables of embeddings: they have more than one dimension, but no reason to be small."""


def decay_groups(named_parameters: NamedParameters, weight_decay: float) -> list[dict[str, Any]]:
    """Splits trainable parameters in two groups: matrices and filters decay; biases, norms, layer scales and embedding tables do not."""
    decayed, free = [], []
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            is_table = name.rpartition(".")[2] in NEVER_DECAYED
            (free if parameter.ndim < 2 or is_table else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"optimizer.{name}={value} must be above 0; for example {name}=1e-3")


def adamw(named_parameters: NamedParameters, lr: float, weight_decay: float, betas: tuple[float, float] | list[float]) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), fused: one kernel for all parameters, on CPU too."""
    _require_positive(lr=lr)
    return AdamW(decay_groups(named_parameters, weight_decay), lr=lr, betas=(betas[0], betas[1]), fused=True)


def sgd(named_parameters: NamedParameters, lr: float, weight_decay: float, momentum: float, nesterov: bool) -> SGD:
    """Stochastic gradient descent with momentum."""
    _require_positive(lr=lr)
    return SGD(decay_groups(named_parameters, weight_decay), lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


class MuonWithAdamW(Optimizer):
    """Muon (Jordan et al. 2024) for the matrices inside the encoder blocks, AdamW for every other parameter.

    Both are torch's; this class shows them to a schedule and to a checkpoint as one optimizer.
    """

    def __init__(self, muon: Muon, adamw: AdamW):
        self._parts = (muon, adamw)
        super().__init__(list(chain(muon.param_groups, adamw.param_groups)), defaults={})
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = list(chain.from_iterable(part.param_groups for part in self._parts))
        self.state.clear()
        for part in self._parts:
            for parameter, state in part.state.items():
                self.state[parameter] = state

    @torch.no_grad()
    def step(self, closure=None):  # noqa: ANN001, ANN201  # torch's own signature
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._parts[0].state_dict(), "adamw": self._parts[1].state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._parts[0].load_state_dict(state_dict["muon"])
        self._parts[1].load_state_dict(state_dict["adamw"])
        self._share_groups()


def muon(
    named_parameters: NamedParameters,
    lr: float,
    weight_decay: float,
    momentum: float,
    adamw_lr: float,
    betas: tuple[float, float] | list[float],
) -> MuonWithAdamW:
    """Muon for the weight matrices of `blocks`, with updates scaled to AdamW's size, and AdamW for embeddings, head, norms and biases."""
    _require_positive(lr=lr, adamw_lr=adamw_lr)
    hidden, rest = [], []
    for name, parameter in named_parameters:
        (hidden if "blocks." in name and parameter.ndim == 2 else rest).append((name, parameter))
    if not hidden:
        raise ValueError("optimizer=muon: the model has no matrices in `blocks`; optimizer=adamw would work")
    matrices = [parameter for _, parameter in hidden if parameter.requires_grad]
    return MuonWithAdamW(
        Muon(matrices, lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw"),
        adamw(rest, adamw_lr, weight_decay, betas),
    )


def warmup_schedule(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    shape: Literal["cosine", "linear", "constant"],
    warmup_epochs: float,
    final_lr_ratio: float,
) -> LambdaLR:
    """Raises every group's rate linearly over the warm-up, then lets it fall in `shape` to `final_lr_ratio` of its peak at the end."""
    warmup_steps = round(warmup_epochs * steps_per_epoch)
    if warmup_epochs < 0 or warmup_steps >= total_steps > 0:
        raise ValueError(
            f"schedule.warmup_epochs={warmup_epochs} ({warmup_steps} steps) does not fit in a run of {total_steps} steps; "
            f"0 to below {total_steps / steps_per_epoch:g} would work"
        )

    def ratio(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if shape == "constant":
            return 1.0
        progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        fall = progress if shape == "linear" else (1.0 - math.cos(math.pi * progress)) / 2.0
        return 1.0 - (1.0 - final_lr_ratio) * fall

    return LambdaLR(optimizer, ratio)
