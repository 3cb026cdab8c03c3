"""What looking inside costs: process time of `callbacks.attention` as a share of a training epoch.

An epoch is extrapolated from measured steps (median step times number of steps; data and loop left out, so a
share reads too large rather than too small). A frame is all pictures and scores, numbers are what every other
validation logs.
"""

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from benchmarks.machine import Setting, table
from benchmarks.peers import VIT_TI_4, kernels_of, vitlab
from benchmarks.small import digits_vit
from benchmarks.training import make_step
from vitlab.gallery.chronicle import Chronicle, stats_scalars
from vitlab.insight.attention.stats import attention_stats
from vitlab.insight.views.view_of import view_of
from vitlab.pictures.drawing import png

LIBRARIES = ("matplotlib",)
NUM_SHOWN, NUM_SCORED = 8, 64


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def shares(
    name: str,
    model: nn.Module,
    channels: int,
    side: int,
    num_images: int,
    batch: int,
    frames: int,
    steps: int,
) -> list[tuple[str, ...]]:
    """Returns a row for each thing that the callback does: its seconds, and its share of an epoch."""
    images, labels = torch.randn(batch, channels, side, side), torch.randint(0, 10, (batch,))
    step = make_step("vitlab", model, images, labels, lambda: torch.autocast("cpu", enabled=False))
    step()
    epoch = statistics.median(timed(step) for _ in range(steps)) * num_images / batch
    photographs = [
        np.random.default_rng(index).integers(0, 256, (side, side, 3), dtype=np.uint8)
        for index in range(NUM_SHOWN)
    ]
    scored, classes = torch.randn(NUM_SCORED, channels, side, side), torch.arange(NUM_SCORED) % 10
    chronicle = Chronicle(scored, classes, photographs, [f"class {index}" for index in range(10)])
    view = view_of(model)

    def frame() -> None:
        stats = attention_stats(view, scored)
        for picture in chronicle.frame(
            view, stats, "step 1,000, epoch 3", chronicle.measure(view)
        ).pictures.values():
            png(picture)

    works = {
        "numbers only": lambda: stats_scalars(attention_stats(view, scored)),
        "a frame": frame,
    }
    seconds = {}
    for what, work in works.items():
        work()  # fonts and tables of colours are read once
        seconds[what] = statistics.median(timed(work) for _ in range(frames))
    seconds["all ten frames of a run"] = 10 * seconds["a frame"]
    title = f"{name}, an epoch of {num_images:,}: {epoch:.1f} s"
    return [
        (title, "", ""),
        *((what, f"{value:.3f}", f"{100 * value / epoch:.2f} %") for what, value in seconds.items()),
    ]


def measure(setting: Setting) -> Iterator[str]:
    threads = setting.use_threads(1)
    frames, steps, batch = (1, 2, 16) if setting.quick else (3, 6, 128)
    torch.manual_seed(0)
    yield (
        f"### process time, {threads} thread(s), medians of {frames} frames and of {steps} steps of {batch}"
        " images"
    )
    with kernels_of("vitlab"):
        rows = shares("digits_vit", digits_vit(), 1, 8, 1295, batch, frames, steps)
        if not setting.quick:
            rows += shares("ViT-Ti/4 on CIFAR-10", vitlab(VIT_TI_4), 3, 32, 50_000, batch, frames, steps)
    yield table(("", "seconds", "of an epoch"), rows)
