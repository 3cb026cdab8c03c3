"""What several devices exchange and how well they should scale, and the largest model that fits: arithmetic,
on counted sizes.

Assumed, and stated with each table: a device computes at 40 % of an H100's 989 TFLOP/s (bf16), 128 images a
device and step; a link carries 200 GB/s between GPUs of a machine (NVLink), and 25 GB/s for each GPU between
machines (200 Gb/s); nothing is exchanged while a device computes ("at worst"), or all that can be ("at
best").
"""

from collections.abc import Iterator
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.machine import Setting, table
from benchmarks.peers import Shape, vitlab

LIBRARIES = ()

SHAPES = [
    Shape(f"ViT-{name}/16 at 224 px", 224, 16, width, depth, heads, batch=128, num_classes=1000)
    for name, width, depth, heads in (
        ("Ti", 192, 12, 3),
        ("S", 384, 12, 6),
        ("B", 768, 12, 12),
        ("L", 1024, 24, 16),
    )
]

FLOPS, NVLINK, NETWORK, IN_A_MACHINE = 0.4 * 989e12, 200e9, 25e9, 8

STATES = {"weights": 4, "gradients": 4, "AdamW": 8}
"""Bytes a parameter, in float32; `bf16-mixed` keeps them so. An EMA adds 4."""


class Counted(NamedTuple):
    """Of a model: its parameters, multiply-adds of a forward pass, and bytes kept for the backward pass, both
    an image."""

    parameters: int
    products: int
    kept: int
    kept_checkpointed: int


def kept_bytes(model: nn.Module, shape: Shape) -> int:
    """Returns what a forward pass of one image keeps for the backward pass, beside the weights, in
    float32."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address comes twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(torch.randn(1, 3, shape.image_size, shape.image_size)).sum()
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def count(shape: Shape) -> Counted:
    tokens, width = shape.num_tokens, shape.embed_dim
    with (
        FakeTensorMode(),
        patch.object(nn.init, "trunc_normal_"),
    ):  # sizes without numbers, so nothing to draw either
        model = vitlab(shape).train()
        weights = [(parameter.numel(), parameter.ndim) for parameter in model.parameters()]
        kept = kept_bytes(model, shape)
        model.grad_checkpointing = True
        kept_checkpointed = kept_bytes(model, shape)
    products = tokens * sum(size for size, ndim in weights if ndim > 1) + shape.depth * 2 * tokens**2 * width
    # one block at a time is computed again, and keeps what it kept without
    return Counted(sum(size for size, _ in weights), products, kept, kept_checkpointed + kept // shape.depth)


def sent(strategy: str, parameters: float, devices: int) -> float:
    """Returns the bytes that each device of a ring sends in a step: DDP sends gradients twice; FSDP weights
    twice, gradients once."""
    return {"ddp": 2, "fsdp": 3}[strategy] * 4 * parameters * (devices - 1) / devices


def exchange_seconds(strategy: str, parameters: int, devices: int) -> float:
    """FSDP's parts lie within a machine; machines hold copies, and exchange the gradients of the parts."""
    here = min(devices, IN_A_MACHINE)
    if strategy == "ddp":
        return sent("ddp", parameters, devices) / (NVLINK if devices == here else NETWORK)
    return sent("fsdp", parameters, here) / NVLINK + sent("ddp", parameters / here, devices // here) / NETWORK


def efficiency(strategy: str, counted: Counted, devices: int, batch: int) -> tuple[float, float]:
    """Returns the share of a step that is arithmetic, at worst and at best."""
    compute, exchange = (
        3 * 2 * counted.products * batch / FLOPS,
        exchange_seconds(strategy, counted.parameters, devices),
    )
    return compute / (compute + exchange), compute / max(compute, exchange)


def largest_batch(counted: Counted, gib: int, parts: int, checkpointed: bool) -> int:
    """Returns how many images' activations fit beside the states, which `parts` devices share."""
    left = 0.9 * gib * 2**30 - counted.parameters * sum(STATES.values()) / parts
    return max(0, int(left / (counted.kept_checkpointed if checkpointed else counted.kept)))


def measure(setting: Setting) -> Iterator[str]:
    setting.use_threads(1)
    models = {shape: count(shape) for shape in (SHAPES[:2] if setting.quick else SHAPES)}
    devices = (2, 8, 16, 64)
    yield (
        "### Bytes that each device sends in a step, a parameter: gradients in float32; FSDP's weights twice"
        " and gradients once"
    )
    rows = [
        (str(number), *(f"{sent(strategy, 1, number):.2f}" for strategy in ("ddp", "fsdp")))
        for number in devices
    ]
    yield table(("devices", "DDP", "FSDP"), rows)
    yield (
        f"### Efficiency, at worst to at best: {FLOPS / 1e12:.0f} TFLOP/s, 128 images a device; 200 GB/s,"
        " between machines of 8 25 GB/s"
    )
    rows = []
    for shape, counted in models.items():
        for strategy in ("ddp", "fsdp"):
            shares = (efficiency(strategy, counted, number, shape.batch) for number in devices)
            rows.append(
                (
                    f"{shape.name}, {strategy}",
                    *(f"{100 * worst:.0f} to {100 * best:.0f} %" for worst, best in shares),
                )
            )
    yield table(("", *(f"{number} devices" for number in devices)), rows)
    yield (
        "### What a model takes: states (16 bytes a parameter; an EMA adds 4), and what an image leaves for"
        " the backward pass (float32)"
    )
    rows = []
    for shape, counted in models.items():
        states = counted.parameters * sum(STATES.values())
        kept, again = counted.kept, counted.kept_checkpointed
        numbers = (
            f"{counted.parameters / 1e6:.1f} M",
            *(f"{value / 2**20:,.0f} MiB" for value in (states, kept, again)),
        )
        rows.append((shape.name, *numbers, f"{kept / again:.1f}"))
    yield table(("", "parameters", "states", "kept", "with grad_checkpointing", "ratio"), rows)
    yield "### Images a step that fit one device, plain / with grad_checkpointing (a tenth left free)"
    rows = [
        (
            shape.name,
            *(
                f"{largest_batch(counted, gib, 1, False):,} / {largest_batch(counted, gib, 1, True):,}"
                for gib in (8, 24, 80)
            ),
        )
        for shape, counted in models.items()
    ]
    yield table(("", "8 GiB", "24 GiB", "80 GiB"), rows)
    yield "### Parameters of the largest model whose states fill nine tenths of a device, DDP and FSDP"
    most = [
        [0.9 * gib * 2**30 * parts / sum(STATES.values()) / 1e9 for parts in (1, 8)] for gib in (8, 24, 80)
    ]
    rows = [
        (f"{gib} GiB", *(f"{value:.1f} G" for value in row))
        for gib, row in zip((8, 24, 80), most, strict=True)
    ]
    yield table(("a device", "one, or DDP", "FSDP over 8"), rows)
