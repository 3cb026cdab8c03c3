"""Memory of a per-patch ResNet-18: forward and backward of 196 patches x batch 32 (224 px, 16 px patches), by
chunk size.

    python -m benchmarks.studies.patch_resnet_memory [--chunks 6272,2048,512,128] [--threads 1]

Each chunk size runs in a process of its own; printed is the most that was resident above what was there
before, and the seconds taken.
"""

import argparse
import time

import torch

from benchmarks.child import run_python
from benchmarks.machine import table, where
from benchmarks.memory import resident_mib
from vitlab.models.resnet_embed import PatchResNet

BATCH, IMAGE, PATCH = 32, 224, 16


def measure(chunk_size: int) -> str:
    """Returns MiB and seconds, as a line."""
    torch.manual_seed(0)
    embed = PatchResNet(PATCH, 3, 192, "resnet18", 2, "small", "group", None, chunk_size)
    images = torch.randn(BATCH, 3, IMAGE, IMAGE)
    embed(images[:1, :, :PATCH, :PATCH]).sum().backward()  # kernels load before the counting
    before, start = resident_mib("VmRSS"), time.perf_counter()
    embed(images).square().mean().backward()
    return f"{resident_mib('VmHWM') - before:,.0f} {time.perf_counter() - start:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", default="6272,2048,512,128")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(measure(options.one))
        return
    module = "benchmarks.studies.patch_resnet_memory"
    told = {
        chunk: run_python("-m", module, "--one", chunk, threads=options.threads)[0]
        for chunk in options.chunks.split(",")
    }
    print(f"{where()}; float32, batch {BATCH}")
    print(table(("chunk_size", "MiB", "seconds"), [(chunk, *line.split()) for chunk, line in told.items()]))


if __name__ == "__main__":
    main()
