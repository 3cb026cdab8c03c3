"""Muon and AdamW as one optimizer."""

from itertools import chain
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer


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
