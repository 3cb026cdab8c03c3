"""Which patches made the model say so: attention, rollout, relevance and gradients as one number a patch.

None of these needs attention in the graph: probabilities are computed again from what the kernel saw, and
dL/dA = dL/dout vᵀ.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitlab.insight.attention.capture import Layer, attention_gradients, block_taps, listening, record
from vitlab.insight.attention.maps import chunk_size
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.views.anatomy import View
from vitlab.insight.views.view_of import view_for
from vitlab.randomness import generator_at
from vitlab.shapes import AttentionWeights, Features, Heatmap, Images, Labels, Logits

DISCARDED = 0.9
"""The share of an image's attention, the smallest of each layer, that `rollout_discard` drops."""


def _in_full_precision(tensor: Tensor) -> torch.autocast:
    """Switches autocast off, which would compute products of float32 tensors in bfloat16."""
    return torch.autocast(tensor.device.type, enabled=False)


# Heads into one matrix [batch, tokens, tokens]


def _mean_of_heads(attention: AttentionWeights) -> Tensor:
    return attention.mean(dim=1)


def _max_of_heads(attention: AttentionWeights) -> Tensor:
    return attention.amax(dim=1)


def _largest_of_heads(attention: AttentionWeights) -> Tensor:
    fused = _max_of_heads(attention)
    num_kept = max(1, round((1 - DISCARDED) * fused[0].numel()))
    threshold = fused.flatten(1).kthvalue(fused[0].numel() - num_kept + 1).values
    return fused * (fused >= threshold[:, None, None])  # equal numbers stay or go together


def _with_residual(fused: Tensor) -> Tensor:
    """Adds the connection past the attention. Each row, which is a query's, sums to 1."""
    step = fused + torch.eye(fused.shape[-1], device=fused.device)
    return step / step.sum(dim=-1, keepdim=True)


# What the head reads, traced back to the tokens: values [batch, tokens], or [batch, patches] where only
# patches have one


def _readout(view: View, images: Images) -> Tensor:
    return view.layout(images).readout().to(images.device)


def _last_attention(view: View, images: Images, target: Labels | None) -> Tensor:
    last: list[Layer] = []
    with torch.no_grad(), record(view, lambda _, layer: last.__setitem__(slice(None), [layer])):
        view.logits(images)
    with _in_full_precision(images):
        return _readout(view, images) @ _mean_of_heads(last[0].probabilities())


def _rollout(
    view: View, images: Images, target: Labels | None, fuse: Callable[[AttentionWeights], Tensor]
) -> Tensor:
    rolled: Tensor | None = None

    def visit(_: int, layer: Layer) -> None:
        nonlocal rolled
        with _in_full_precision(images):
            step = _with_residual(fuse(layer.probabilities()))
            rolled = step if rolled is None else step @ rolled

    with torch.no_grad(), record(view, visit):
        view.logits(images)
    assert rolled is not None  # record saw every layer
    with _in_full_precision(images):
        return _readout(view, images) @ rolled


def _objective(logits: Logits | Features, target: Labels | None) -> Tensor:
    """Returns the sum of the targets' logits; images are independent, so each gets its own gradient."""
    chosen = logits.argmax(dim=1) if target is None else target.to(logits.device)
    if chosen.min() < 0 or chosen.max() >= logits.shape[1]:
        raise ValueError(
            f"target={chosen.tolist()} has what is no class; numbers from 0 to {logits.shape[1] - 1} would"
            " work"
        )
    return logits.float().gather(1, chosen[:, None]).sum()


def _weighted_attention(view: View, images: Images, target: Labels | None) -> Iterator[AttentionWeights]:
    """Yields attention times its gradient, layer by layer from the head down."""
    layers: list[Layer] = []
    with torch.enable_grad():
        with record(view, lambda _, layer: layers.append(layer)):
            logits = view.logits(images.requires_grad_())
        objective = _objective(logits, target)
    layers.reverse()
    for layer, gradient in zip(layers, attention_gradients(layers, objective), strict=True):
        with torch.no_grad(), _in_full_precision(images):
            weighted = layer.probabilities().mul_(gradient)
        yield weighted


def _gradient_rollout(view: View, images: Images, target: Labels | None) -> Tensor:
    row = _readout(view, images).expand(len(images), 1, -1)  # a row instead of a matrix
    for weighted in _weighted_attention(view, images, target):
        with _in_full_precision(images):
            row = row @ _with_residual(_mean_of_heads(weighted).clamp_min(0))
    return row[:, 0]


def _relevance(view: View, images: Images, target: Labels | None) -> Tensor:
    readout = _readout(view, images)
    row = readout.expand(len(images), 1, -1)
    for weighted in _weighted_attention(view, images, target):
        with _in_full_precision(images):
            row = row + row @ _mean_of_heads(weighted.clamp_min(0))
    # what the head reads without any attention is no evidence; for a class token it lies on no patch anyway
    return row[:, 0] - readout


def _grad_cam(view: View, images: Images, target: Labels | None) -> Tensor:
    seen: list[Tensor] = []
    # not after the block: what it makes of the patches is not read by a class token, so their gradient would
    # be zero
    entering = block_taps(view)[-1]._replace(side="input")
    with torch.enable_grad(), listening([(entering, seen.append)]):
        objective = _objective(view.logits(images.requires_grad_()), target)
    (gradient,) = torch.autograd.grad(objective, seen)
    num_prefix_tokens = view.layout(images).num_prefix_tokens
    patches, slopes = (tensor.detach().float()[:, num_prefix_tokens:] for tensor in (seen[0], gradient))
    return (patches * slopes.mean(dim=1, keepdim=True)).sum(dim=2)


def _input_gradient(view: View, images: Images, target: Labels | None) -> Tensor:
    with torch.enable_grad():
        objective = _objective(view.logits(images.requires_grad_()), target)
    (gradient,) = torch.autograd.grad(objective, images)
    change = (images.detach() * gradient).float().sum(dim=1, keepdim=True)
    return F.adaptive_avg_pool2d(change, view.layout(images).grid).flatten(1).abs()


def _random(view: View, images: Images, target: Labels | None) -> Tensor:
    grid = view.layout(images).grid
    hashes = [hashlib.blake2b(image.numpy().tobytes()).hexdigest() for image in images.float().cpu()]
    return torch.stack(
        [
            torch.rand(grid[0] * grid[1], generator=generator_at(0, "random map", content))
            for content in hashes
        ]
    )


_COMPUTE: dict[str, Callable[[View, Images, Labels | None], Tensor]] = {
    "attention": _last_attention,
    "rollout": partial(_rollout, fuse=_mean_of_heads),
    "rollout_max": partial(_rollout, fuse=_max_of_heads),
    "rollout_discard": partial(_rollout, fuse=_largest_of_heads),
    "grad_rollout": _gradient_rollout,
    "relevance": _relevance,
    "grad_cam": _grad_cam,
    "input_gradient": _input_gradient,
    "random": _random,
}

METHODS: tuple[str, ...] = tuple(_COMPUTE)
"""attention: of the last layer, by what the head reads, mean of the heads. rollout: product of all layers'
mean attention with the residual connection (Abnar and Zuidema 2020, arXiv:2005.00928); rollout_max takes the
largest head, rollout_discard keeps of that the largest tenth (Gildenblat's vit-explain, 2020, with rows
normalised per query). grad_rollout: the same with attention times its gradient, negative parts cut
(vit-explain, with each layer's own gradient). relevance: Chefer et al. 2021 (arXiv:2103.15679), without LRP.
grad_cam: Selvaraju et al. 2017 (arXiv:1610.02391) on the tokens that enter the last block. input_gradient:
pixels times gradient, summed over a patch, either sign. random: the baseline, drawn from the image's
content."""

CLASS_SPECIFIC = frozenset({"grad_rollout", "relevance", "grad_cam", "input_gradient"})
"""The methods whose map depends on the target."""


def explain(model: nn.Module | View, images: Images, method: str, target: Labels | None = None) -> Heatmap:
    """Returns each patch's share in the decision for `target` (by default the predicted class), on the CPU.
    The shares of an image sum to 1.

    All patches share alike where a method finds nothing in favour of the target. Gradients of parameters,
    random generators and the model's mode stay as they are. Raises ValueError for an unknown method, a target
    that is no class, and a model that gives NaN.
    """
    if method not in _COMPUTE:
        raise ValueError(f"method={method} is unknown; known: {', '.join(METHODS)}")
    view = view_for(model, images)
    if not len(images):
        raise ValueError("images hold no image; one or more would work")
    if method in CLASS_SPECIFIC and not view.has_head:
        others = ", ".join(other for other in METHODS if other not in CLASS_SPECIFIC)
        raise ValueError(f"method={method} needs classes, and this model has no head; {others} would work")
    if target is not None and len(target) != len(images):
        raise ValueError(f"target has {len(target)} numbers for {len(images)} images; one each would work")
    with looked_at(view.model):
        layout = view.layout(images)
        # gradients hold what every layer has computed, so a chunk may take this for each of them
        size = chunk_size(view, layout)
        parts = [part.detach().clone() for part in images.split(size)]
        targets = [None] * len(parts) if target is None else target.clone().split(size)
        values = torch.cat(
            [_COMPUTE[method](view, part, chosen) for part, chosen in zip(parts, targets, strict=True)]
        )
    values = values.detach().cpu().double()[:, -layout.grid[0] * layout.grid[1] :]
    if not values.isfinite().all():
        raise ValueError(
            f"method={method}: the model gives numbers that are not finite; images and weights without NaN"
            " would work"
        )
    shares = values.clamp_min(0)
    largest = shares.amax(dim=1, keepdim=True)
    shares = torch.where(largest > 0, shares / largest, torch.ones_like(shares))
    return (shares / shares.sum(dim=1, keepdim=True)).float().unflatten(1, layout.grid)
