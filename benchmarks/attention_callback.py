"""What looking inside costs: process time of `callbacks.attention` as a share of a training epoch on CIFAR-10.

    python benchmarks/attention_callback.py [--steps 12] [--frames 3] [--batch 128] [--threads 1] [--digits]

Trains a ViT-Ti/4 on images of 32 px and extrapolates an epoch of 50,000 images from its measured steps (median step times number of
steps; data and loop left out, so a share reads too large rather than too small). A middle frame is all pictures and scores but deletion,
the first and the last one have deletion too, numbers are what every other validation logs. With --digits the model of
experiment=digits_vit and its 1,295 images.
"""

import argparse
import os
import platform
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from vitlab.insight.attention.stats import attention_stats
from vitlab.insight.pictures.chronicle import Chronicle, stats_scalars
from vitlab.insight.pictures.drawing import png
from vitlab.insight.views.view_of import view_of
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

NUM_SHOWN, NUM_SCORED = 8, 64


def timed(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--digits", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.digits:
        model = VisionTransformer(ConvStem(2, 1, 64), 8, 10, 64, 4, 4, mlp_ratio=2.0, class_token=False, global_pool="avg")
        channels, side, num_images = 1, 8, 1295
    else:
        model = VisionTransformer(LinearPatchEmbed(4, 3, 192), 32, 10, 192, 12, 3)
        channels, side, num_images = 3, 32, 50_000
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    images, labels = torch.randn(options.batch, channels, side, side), torch.randint(0, 10, (options.batch,))

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    step()
    seconds_a_step = statistics.median(timed(step) for _ in range(options.steps))
    epoch = seconds_a_step * num_images / options.batch
    photographs = [np.random.default_rng(index).integers(0, 256, (side, side, 3), dtype=np.uint8) for index in range(NUM_SHOWN)]
    scored, classes = torch.randn(NUM_SCORED, channels, side, side), torch.arange(NUM_SCORED) % 10
    chronicle = Chronicle(scored, classes, photographs, [f"class {index}" for index in range(10)])
    view = view_of(model)

    def frame(with_deletion):
        stats = attention_stats(view, scored)
        for picture in chronicle.frame(view, stats, "step 1,000, epoch 3", chronicle.measure(view, with_deletion)).pictures.values():
            png(picture)

    works = {
        "numbers only": lambda: stats_scalars(attention_stats(view, scored)),
        "a middle frame": lambda: frame(with_deletion=False),
        "the first or the last frame": lambda: frame(with_deletion=True),
    }
    machine = f"{platform.machine()}, {options.threads} of {os.cpu_count()} cores"
    print(f"torch {torch.__version__}, {machine}; process time, medians of {options.frames} frames and {options.steps} steps")
    print(f"an epoch of {num_images:,} images: {epoch:.1f} s ({1000 * seconds_a_step:.1f} ms a step of {options.batch}, extrapolated)")
    totals = {}
    for name, work in works.items():
        work()  # fonts and tables of colours are read once
        totals[name] = statistics.median(timed(work) for _ in range(options.frames))
        print(f"{name}: {totals[name]:.3f} s, {100 * totals[name] / epoch:.2f} % of an epoch")
    run = 8 * totals["a middle frame"] + 2 * totals["the first or the last frame"]
    print(f"all ten frames of a run: {run:.2f} s")


if __name__ == "__main__":
    main()
