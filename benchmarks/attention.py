"""What all attention maps cost over a plain forward pass: ViT-Ti/4 on images of 32 px, vitlab and what other
libraries offer.

Each library runs its own model of that size, plain (with its fused kernel) and giving out the probabilities
of all layers: ours by `attention_maps`, timm's by `AttentionExtract` on a model built without fused attention
(with it, nothing comes out), Hugging Face's by `output_attentions` on its eager path. In a notebook ours runs
with torch's own settings, else with those of `vitlab train`. The rollout's row, `query="readout"`, and
`attention_stats` follow for ours.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from benchmarks.machine import Setting, table
from benchmarks.peers import VIT_TI_4, Shape, kernels_of, timm, timm_explicit, transformers, vitlab
from benchmarks.timing import Contestant, interleave, spread
from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.attention.stats import attention_stats

LIBRARIES = ("timm", "transformers")
BATCH = 16

Pair = tuple[Callable[[], object], Callable[[], object]]
"""A plain forward pass, and one that gives out attention."""


def of_vitlab(shape: Shape, images: Tensor) -> dict[str, Pair]:
    model = vitlab(shape).eval()
    plain = partial(model, images)
    return {
        "vitlab, all maps": (plain, lambda: attention_maps(model, images).maps),
        "vitlab in a notebook, all maps": (plain, lambda: attention_maps(model, images).maps),
        'vitlab, query="readout"': (plain, lambda: attention_maps(model, images, query="readout").maps),
        "vitlab, attention_stats": (plain, lambda: attention_stats(model, images)),
    }


def of_timm(shape: Shape, images: Tensor) -> dict[str, Pair]:
    from timm.utils import AttentionExtract

    extract = AttentionExtract(timm_explicit(shape).eval(), method="hook")
    assert len(extract(images)) == shape.depth
    return {"timm, AttentionExtract": (partial(timm(shape).eval(), images), lambda: extract(images))}


def of_transformers(shape: Shape, images: Tensor) -> dict[str, Pair]:
    slow = transformers(shape, "eager").eval().model
    assert len(slow(images, output_attentions=True).attentions) == shape.depth
    return {
        "transformers, output_attentions": (
            partial(transformers(shape).eval(), images),
            lambda: slow(images, output_attentions=True),
        )
    }


def measure(setting: Setting, shape: Shape = VIT_TI_4) -> Iterator[str]:
    threads, rounds = setting.use_threads(1), setting.rounds_or(12)
    torch.manual_seed(0)
    images = torch.randn(BATCH, 3, shape.image_size, shape.image_size)
    # ours last: the others shall first run in a process whose allocator nobody has changed
    pairs = of_timm(shape, images) | of_transformers(shape, images) | of_vitlab(shape, images)
    contestants = {}
    for name, pair in pairs.items():
        for kind, run in zip(("plain", "with"), pair, strict=True):
            contestants[f"{name}: {kind}"] = Contestant(
                run, nullcontext if "notebook" in name else partial(kernels_of, name)
            )
    with torch.no_grad():
        seconds = interleave(contestants, rounds, setting.ticks(), 0.05 if setting.quick else 0.2)
    rows = []
    for name in (each.removesuffix(": plain") for each in seconds if each.endswith(": plain")):
        plain, with_maps = seconds[f"{name}: plain"], seconds[f"{name}: with"]
        more = [100 * (slow / fast - 1) for fast, slow in zip(plain, with_maps, strict=True)]
        rows.append(
            (
                name,
                spread([1e3 * value for value in plain], 1),
                spread([1e3 * value for value in with_maps], 1),
                spread(more, 1),
            )
        )
    yield f"### {shape.name}, float32, batch {BATCH}, {threads} thread(s), {rounds} rounds"
    yield table(("", "plain, ms", "with it, ms", "more, %"), rows)
