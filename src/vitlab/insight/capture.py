"""Attention as the model computed it: recorded beside the fused kernel, never instead of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitlab.insight.views import AttentionTaps, Tap, View, view_of
from vitlab.shapes import AttentionWeights, Heads


class Layer(NamedTuple):
    """What one layer's attention kernel took and gave in a forward pass; `sent` is `out` as the model passes it on."""

    q: Heads
    k: Heads
    v: Heads
    out: Heads
    scale: float
    sent: Tensor
    split: Callable[[Tensor], Heads]

    def probabilities(self) -> AttentionWeights:
        """Returns softmax(q kᵀ scale) in float32, from the numbers that the kernel saw."""
        q, k = (part.to(self.v.dtype).float() for part in (self.q, self.k))
        return ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)


def attention_gradients(layers: Sequence[Layer], objective: Tensor) -> list[AttentionWeights]:
    """Returns the gradient of the scalar `objective` by each layer's probabilities: out = A v, so dL/dA = dL/dout vᵀ."""
    gradients = torch.autograd.grad(objective, [layer.sent for layer in layers])
    return [layer.split(gradient).float() @ layer.v.float().transpose(-2, -1) for layer, gradient in zip(layers, gradients, strict=True)]


@contextmanager
def record(model: nn.Module | View, visit: Callable[[int, Layer], None]) -> Iterator[None]:
    """Calls `visit(index, layer)` whenever a layer's attention has been computed in the block, compiled models included.

    Raises RuntimeError at the end of the block where a layer was never seen. Nothing is left on the model, not after an error either.
    """
    view = model if isinstance(model, View) else view_of(model)
    seen: set[int] = set()
    handles = []
    parts: dict[str, Tensor] = {}

    def listen(tap: Tap, then: Callable[[Tensor], None]) -> None:
        if tap.side == "input":
            handles.append(tap.module.register_forward_pre_hook(lambda _, inputs: then(inputs[0])))
        else:
            handles.append(tap.module.register_forward_hook(lambda _, __, output: then(output)))

    def keep(name: str, split: Callable[[Tensor], Heads]) -> Callable[[Tensor], None]:
        return lambda tensor: parts.__setitem__(name, split(tensor))

    def finish(index: int, taps: AttentionTaps) -> Callable[[Tensor], None]:
        def end(sent: Tensor) -> None:
            seen.add(index)
            split = taps.out.split
            visit(index, Layer(parts.pop("q"), parts.pop("k"), parts.pop("v"), split(sent), taps.scale, sent, split))

        return end

    try:
        for index, taps in enumerate(view.attentions):
            for name in ("q", "k", "v"):
                tap = getattr(taps, name)
                listen(tap, keep(name, tap.split))
            listen(taps.out, finish(index, taps))
        with torch.compiler.set_stance("force_eager"):  # a compiled graph would pass the hooks by
            yield
    finally:
        for handle in handles:
            handle.remove()
    missing = sorted(set(range(len(view.attentions))) - seen)
    if missing or not seen:
        raise RuntimeError(f"attention of layers {missing} was not seen: the model did not run in the block, or does not use these layers")
