"""Attention as the model computed it: recorded beside the kernel, never instead of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vitlab.insight.views.anatomy import AttentionTaps, Tap, View, as_it_is
from vitlab.insight.views.view_of import view_of
from vitlab.shapes import AttentionRows, AttentionWeights, Heads, Scores


class Layer(NamedTuple):
    """What one layer's attention kernel took and gave in a forward pass; `sent` is `out` as the model passes it on.

    `weights` are the probabilities themselves, where plain products computed them in float32.
    """

    q: Heads
    k: Heads
    v: Heads
    out: Heads
    scale: float
    sent: Tensor
    split: Callable[[Tensor], Heads]
    weights: AttentionWeights | None

    @torch.no_grad()
    def scores(self, queries: Tensor | slice = slice(None), into: Tensor | None = None) -> Scores:
        """Returns q kᵀ scale in float32, from the numbers that the kernel saw; `queries` chooses rows, `into` is where they go."""
        q, k = (part.to(self.v.dtype).float() for part in (self.q[:, :, queries], self.k))
        scores = q.new_empty(*q.shape[:3], k.shape[2]) if into is None else into
        product = scores.view(-1, *scores.shape[2:])
        with torch.autocast(q.device.type, enabled=False):  # which would multiply in bfloat16
            torch.baddbmm(product, q.flatten(0, 1), k.flatten(0, 1).mT, beta=0, alpha=self.scale, out=product)
        return scores

    @torch.no_grad()
    def probabilities(self, queries: Tensor | slice = slice(None), into: Tensor | None = None) -> AttentionRows:
        """Returns the softmax of `scores`, or the kernel's own: each row sums to 1."""
        if self.weights is not None:
            chosen = self.weights[:, :, queries]
            return chosen.clone() if into is None else into.copy_(chosen)
        scores = self.scores(queries, into)
        return torch.softmax(scores, dim=-1, out=scores)


def attention_gradients(layers: Sequence[Layer], objective: Tensor) -> Iterator[AttentionWeights]:
    """Yields the gradient of the scalar `objective` by each layer's probabilities, one at a time: out = A v, so dL/dA = dL/dout vᵀ."""
    gradients = torch.autograd.grad(objective, [layer.sent for layer in layers])
    for layer, gradient in zip(layers, gradients, strict=True):
        with torch.no_grad(), torch.autocast(objective.device.type, enabled=False):
            by_attention = layer.split(gradient).float() @ layer.v.float().mT
        yield by_attention


def _listen(tap: Tap, then: Callable[[Tensor], None]) -> RemovableHandle:
    if tap.side == "input":

        def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            then(inputs[0])

        return tap.module.register_forward_pre_hook(before)

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        then(output)

    return tap.module.register_forward_hook(after)


@contextmanager
def listening(places: Sequence[tuple[Tap, Callable[[Tensor], None]]]) -> Iterator[None]:
    """Hands each tap's tensor to its function whenever the model runs in the block, compiled models included; no hook stays behind."""
    handles = []
    try:
        for tap, then in places:
            handles.append(_listen(tap, then))
        with torch.compiler.set_stance("force_eager"):  # a compiled graph would pass the hooks by
            yield
    finally:
        for handle in handles:
            handle.remove()


def block_taps(view: View) -> list[Tap]:
    """Returns where the tokens after each layer can be read."""
    return [Tap(block, "output", as_it_is) for block in view.blocks]


@contextmanager
def record(model: nn.Module | View, visit: Callable[[int, Layer], None]) -> Iterator[None]:
    """Calls `visit(index, layer)` whenever a layer's attention has been computed in the block, compiled models included.

    Raises RuntimeError at the end of the block where a layer was never seen. Nothing is left on the model, not after an error either.
    """
    view = model if isinstance(model, View) else view_of(model)
    seen: set[int] = set()
    parts: dict[str, Tensor] = {}

    def keep(name: str, tap: Tap) -> tuple[Tap, Callable[[Tensor], None]]:
        return tap, lambda tensor: parts.update({name: tap.split(tensor)})

    def finish(index: int, taps: AttentionTaps) -> tuple[Tap, Callable[[Tensor], None]]:
        def end(sent: Tensor) -> None:
            seen.add(index)
            split = taps.out.split
            weights = parts.pop("weights", None)
            weights = weights.detach() if weights is not None and weights.dtype == torch.float32 else None
            visit(index, Layer(parts.pop("q"), parts.pop("k"), parts.pop("v"), split(sent), taps.scale, sent, split, weights))

        return taps.out, end

    places = []
    for index, taps in enumerate(view.attentions):
        places += [keep("q", taps.q), keep("k", taps.k), keep("v", taps.v), finish(index, taps)]
        if taps.weights is not None:
            places.append(keep("weights", taps.weights))
    with listening(places):
        yield
    missing = sorted(set(range(len(view.attentions))) - seen)
    if missing or not seen:
        raise RuntimeError(f"attention of layers {missing} was not seen: the model did not run in the block, or does not use these layers")
