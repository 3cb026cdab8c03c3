"""Attention as the model computed it: recorded beside the kernel, never instead of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vitlab.insight.views.anatomy import AttentionTaps, Tap, View, as_it_is
from vitlab.insight.views.view_of import view_of
from vitlab.shapes import AttentionRows, AttentionWeights, Heads, Scores


class Layer(NamedTuple):
    """What one layer's attention kernel took and gave in a forward pass; `sent` is `out` as the model passes
    it on. `weights` holds the probabilities where plain products computed them in float32, else nothing."""

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
        """Returns q kᵀ scale in float32, from the numbers that the kernel saw. `queries` chooses rows; the
        result is written `into` a tensor where one is given."""
        q, k = (part.to(self.v.dtype).float() for part in (self.q[:, :, queries], self.k))
        scores = q.new_empty(*q.shape[:3], k.shape[2]) if into is None else into
        product = scores.view(-1, *scores.shape[2:])
        with torch.autocast(q.device.type, enabled=False):  # which would multiply in bfloat16
            torch.baddbmm(product, q.flatten(0, 1), k.flatten(0, 1).mT, beta=0, alpha=self.scale, out=product)
        return scores

    @torch.no_grad()
    def probabilities(
        self, queries: Tensor | slice = slice(None), into: Tensor | None = None
    ) -> AttentionRows:
        """Returns the softmax of `scores`, or the kernel's own: each row sums to 1."""
        if self.weights is not None:
            chosen = self.weights[:, :, queries]
            return chosen.clone() if into is None else into.copy_(chosen)
        scores = self.scores(queries, into)
        return torch.softmax(scores, dim=-1, out=scores)


def attention_gradients(layers: Sequence[Layer], objective: Tensor) -> Iterator[AttentionWeights]:
    """Yields the gradient of the scalar `objective` by each layer's probabilities: dL/dA = dL/dout vᵀ."""
    gradients = torch.autograd.grad(objective, [layer.sent for layer in layers])
    for layer, gradient in zip(layers, gradients, strict=True):
        with torch.no_grad(), torch.autocast(objective.device.type, enabled=False):
            by_attention = layer.split(gradient).float() @ layer.v.float().mT
        yield by_attention


def _before(then: Callable[[Tensor], None], module: nn.Module, inputs: tuple[Any, ...]) -> None:
    then(inputs[0])


def _after(then: Callable[[Tensor], None], module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    then(output)


def _listen(tap: Tap, then: Callable[[Tensor], None]) -> RemovableHandle:
    if tap.side == "input":
        return tap.module.register_forward_pre_hook(partial(_before, then))
    return tap.module.register_forward_hook(partial(_after, then))


@contextmanager
def listening(places: Sequence[tuple[Tap, Callable[[Tensor], None]]]) -> Iterator[None]:
    """Hands each tap's tensor to its function whenever the model runs in the block, compiled or not."""
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


class _Recorder:
    """Gathers a layer's tensors as the model passes them; hands the layer on once its output is there."""

    def __init__(self, visit: Callable[[int, Layer], None]) -> None:
        self.seen: set[int] = set()
        self._visit = visit
        self._parts: dict[str, Tensor] = {}

    def places(self, index: int, taps: AttentionTaps) -> Iterator[tuple[Tap, Callable[[Tensor], None]]]:
        """Yields where to listen in a layer, and what for."""
        for name, tap in {"q": taps.q, "k": taps.k, "v": taps.v, "weights": taps.weights}.items():
            if tap is not None:
                yield tap, partial(self._keep, name, tap)
        yield taps.out, partial(self._finish, index, taps)

    def _keep(self, name: str, tap: Tap, tensor: Tensor) -> None:
        self._parts[name] = tap.split(tensor)

    def _finish(self, index: int, taps: AttentionTaps, sent: Tensor) -> None:
        self.seen.add(index)
        parts, self._parts = self._parts, {}
        weights = parts.get("weights")
        weights = weights.detach() if weights is not None and weights.dtype == torch.float32 else None
        split = taps.out.split
        self._visit(
            index, Layer(parts["q"], parts["k"], parts["v"], split(sent), taps.scale, sent, split, weights)
        )


@contextmanager
def record(model: nn.Module | View, visit: Callable[[int, Layer], None]) -> Iterator[None]:
    """Calls `visit(index, layer)` whenever a layer's attention has been computed in the block, compiled
    models included. Raises RuntimeError at the end of the block where a layer was never seen. Nothing stays
    on the model, not even after an error."""
    view = view_of(model)
    recorder = _Recorder(visit)
    with listening(
        [place for index, taps in enumerate(view.attentions) for place in recorder.places(index, taps)]
    ):
        yield
    missing = sorted(set(range(len(view.attentions))) - recorder.seen)
    if missing or not recorder.seen:
        raise RuntimeError(
            f"attention of layers {missing} was not seen: the model did not run in the block, or does not use"
            " these layers"
        )
