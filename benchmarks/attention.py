"""What all attention maps cost over a plain forward pass: ViT-Ti/4 on images of 32 px, vitlab and what other libraries offer.

    OMP_NUM_THREADS=1 python benchmarks/attention.py [--rounds 15] [--batch 16] [--dtype float32|bfloat16]

Each library runs its own model of that size, plain (with its fused kernel) and giving out the probabilities of all layers, in turn in one
process: ours by `attention_maps`, timm's by `AttentionExtract` on a model built without fused attention (with it, nothing comes out),
Hugging Face's by `output_attentions` on its eager path. Printed: medians of the process's CPU time and the overhead, with its quartiles
over the rounds. The rollout's row, `query="readout"`, and `attention_stats` follow for ours.
"""

import argparse
import os
import platform
import statistics
import time

import timm
import torch
import transformers
from timm.utils import AttentionExtract

from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.attention.stats import attention_stats
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer

IMAGE, PATCH, WIDTH, DEPTH, HEADS, CLASSES = 32, 4, 192, 12, 3, 10


def ours(images):
    model = VisionTransformer(LinearPatchEmbed(PATCH, 3, WIDTH), IMAGE, CLASSES, WIDTH, DEPTH, HEADS).eval().to(images.dtype)
    yield "vitlab, all maps", lambda: model(images), lambda: attention_maps(model, images).maps
    yield 'vitlab, query="readout"', lambda: model(images), lambda: attention_maps(model, images, query="readout").maps
    yield "vitlab, attention_stats", lambda: model(images), lambda: attention_stats(model, images)


def timms(images):
    sizes = {"img_size": IMAGE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "num_classes": CLASSES}
    model = timm.models.VisionTransformer(**sizes).eval().to(images.dtype)
    timm.layers.set_fused_attn(False)
    slow = timm.models.VisionTransformer(**sizes).eval().to(images.dtype)
    timm.layers.set_fused_attn(True)
    extract = AttentionExtract(slow, method="hook")
    assert len(extract(images)) == DEPTH
    yield "timm, AttentionExtract", lambda: model(images), lambda: extract(images)


def hugging_faces(images):
    sizes = {"image_size": IMAGE, "patch_size": PATCH, "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS}
    config = transformers.ViTConfig(**sizes, intermediate_size=4 * WIDTH, num_labels=CLASSES)
    fast = transformers.ViTForImageClassification(config).eval().to(images.dtype)
    slow = transformers.ViTForImageClassification(config).eval().to(images.dtype)
    slow.set_attn_implementation("eager")
    assert len(slow(images, output_attentions=True).attentions) == DEPTH
    yield "transformers, output_attentions", lambda: fast(images), lambda: slow(images, output_attentions=True)


def seconds(run, repeats):
    start = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=2, help="forward passes a measurement")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, IMAGE, IMAGE).to(getattr(torch, options.dtype))
    with torch.no_grad():
        contestants = [*ours(images), *timms(images), *hugging_faces(images)]
        times = {name: ([], []) for name, _, _ in contestants}
        for number in range(options.rounds + 1):
            for name, plain, with_maps in contestants:
                measured = seconds(plain, options.repeats), seconds(with_maps, options.repeats)
                if number:  # the first round warms up
                    for kept, value in zip(times[name], measured, strict=True):
                        kept.append(value * 1e3)
    print(f"torch {torch.__version__}, timm {timm.__version__}, transformers {transformers.__version__}, {platform.machine()}", end=", ")
    print(f"{torch.get_num_threads()} threads of {os.cpu_count()} cores, {options.dtype}, batch {options.batch}, {options.rounds} rounds")
    print(f"{'':34} {'plain, ms':>10} {'with it, ms':>12} {'overhead, median [quartiles]':>30}")
    for name, (plain, with_maps) in times.items():
        shares = [100 * (b / a - 1) for a, b in zip(plain, with_maps, strict=True)]
        low, middle, high = statistics.quantiles(shares, n=4)
        overhead = f"{middle:+.1f} % [{low:+.1f}, {high:+.1f}]"
        print(f"{name:34} {statistics.median(plain):10.1f} {statistics.median(with_maps):12.1f} {overhead:>30}")


if __name__ == "__main__":
    main()
