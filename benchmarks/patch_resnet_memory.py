"""Memory of a per-patch ResNet-18: forward and backward of 196 patches x batch 32 (224 px, 16 px patches), by chunk size.

    python benchmarks/patch_resnet_memory.py [--chunks 6272,2048,512,128] [--threads 1]

Each chunk size runs in a process of its own; printed is the peak of its resident memory above what was there before, and the seconds taken.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import time

import torch

from vitlab.models.resnet_embed import PatchResNet

BATCH, IMAGE, PATCH = 32, 224, 16


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(chunk_size: int) -> None:
    torch.manual_seed(0)
    embed = PatchResNet(PATCH, 3, 192, "resnet18", 2, "small", "group", None, chunk_size)
    images = torch.randn(BATCH, 3, IMAGE, IMAGE)
    embed(images[:1, :, :PATCH, :PATCH]).sum().backward()  # kernels load before the counting
    before, start = peak_mib(), time.perf_counter()
    embed(images).square().mean().backward()
    print(f"{chunk_size:10} {peak_mib() - before:12,.0f} {time.perf_counter() - start:10.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", default="6272,2048,512,128")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        measure(options.one)
        return
    print(f"torch {torch.__version__}, {platform.machine()}, {options.threads} of {os.cpu_count()} cores, float32, batch {BATCH}")
    print(f"{'chunk_size':>10} {'peak, MiB':>12} {'seconds':>10}", flush=True)
    for chunk in options.chunks.split(","):
        done = subprocess.run([sys.executable, __file__, "--one", chunk, "--threads", str(options.threads)])
        if done.returncode:
            print(f"{chunk:>10} failed with status {done.returncode}")


if __name__ == "__main__":
    main()
