"""Muon and AdamW as one optimizer."""

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer


def _in_memory_order(bank: Tensor, tensor: Tensor) -> Tensor:
    return tensor.permute(0, *sorted(range(1, bank.ndim), key=bank.stride, reverse=True))


def _rows_of(bank: Tensor) -> Tensor:
    """Returns a view of a bank's memory as the matrix whose rows are its filters. Columns keep the order that
    they have in memory, so a checkpoint's momentum fits a bank of the same memory format."""
    return _in_memory_order(bank, bank.detach()).view(len(bank), -1)


class MuonWithAdamW(Optimizer):
    """Muon (Jordan et al. 2024) for hidden matrices and banks of convolution filters, AdamW for every other
    parameter.

    Both are torch's; this class shows them to a schedule and to a checkpoint as one optimizer. `hidden` are
    Muon's groups. torch's Muon takes matrices alone, so it sees each bank as the matrix whose rows are the
    filters, in the same memory.
    """

    def __init__(self, hidden: list[dict[str, Any]], momentum: float, adamw: AdamW):
        self._hidden = [group["params"] for group in hidden]
        self._rows: dict[Tensor, nn.Parameter] = {
            bank: nn.Parameter(_rows_of(bank)) for bank in chain(*self._hidden) if bank.ndim > 2
        }
        shown = [
            group | {"params": [self._rows.get(weight, weight) for weight in group["params"]]}
            for group in hidden
        ]
        self._parts = (Muon(shown, momentum=momentum, adjust_lr_fn="match_rms_adamw"), adamw)
        super().__init__([*hidden, *adamw.param_groups], defaults={})
        self._take_over()

    def _groups(self) -> list[dict[str, Any]]:
        return list(chain.from_iterable(part.param_groups for part in self._parts))

    def _take_over(self) -> None:
        """Shows both parts' groups as one optimizer's, the model's parameters in place of Muon's."""
        adamw = [group["params"] for group in self._parts[1].param_groups]
        self.param_groups = [
            group | {"params": own} for group, own in zip(self._groups(), self._hidden + adamw, strict=True)
        ]
        self._share_states()

    def _share_states(self) -> None:
        banks: dict[Tensor, Tensor] = {rows: bank for bank, rows in self._rows.items()}
        for part in self._parts:
            self.state.update(
                {banks.get(parameter, parameter): state for parameter, state in part.state.items()}
            )

    def _hand_down(self) -> None:
        """Tells the parts what a schedule has changed."""
        for group, own in zip(self._groups(), self.param_groups, strict=True):
            group.update({key: value for key, value in own.items() if key != "params"})

    @torch.no_grad()
    def step(self, closure=None):  # noqa: ANN001, ANN201  # torch's own signature
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._hand_down()
        for bank, rows in self._rows.items():
            rows.data = _rows_of(bank)  # the bank's memory may be another since
            rows.grad = None if bank.grad is None else _in_memory_order(bank, bank.grad).flatten(1)
        for part in self._parts:
            part.step()
        for rows in self._rows.values():
            rows.grad = None  # it would outlive the bank's own
        self._share_states()
        return loss

    def state_dict(self) -> dict[str, Any]:
        self._hand_down()
        return {"muon": self._parts[0].state_dict(), "adamw": self._parts[1].state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._parts[0].load_state_dict(state_dict["muon"])
        self._parts[1].load_state_dict(state_dict["adamw"])
        self._take_over()
