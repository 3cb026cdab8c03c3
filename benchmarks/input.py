"""How fast training batches are made: vitlab's batched augmentation beside torchvision's per-sample pipeline, in interleaved rounds.

    python benchmarks/input.py --threads 1 --rounds 5

Data: 10,000 random 32x32 RGB images in memory, batches of 128, CPU only, one process. Each round runs every pipeline once, for whole
epochs by the wall clock; a ratio compares two pipelines of the same round. All do the same work: crop out of 4 pixels of padding, flip,
normalise; strong: RandAugment(2, 9), erasing 0.25, MixUp 0.8 or CutMix 1.0 besides. Two things differ: our RandAugment is bilinear
where torchvision's takes the nearest pixel, and each sample is mixed by its own share where torchvision mixes a batch by one.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms as v1
from torchvision.transforms import v2

from vitlab.data.augment.policy import Augment
from vitlab.randomness import generator_at

NUM_IMAGES, BATCH_SIZE, NUM_CLASSES = 10_000, 128, 10
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


class CifarStyle(Dataset):
    """What `torchvision.datasets.CIFAR10` does for an image: from an array row to PIL, then the transform."""

    def __init__(self, pixels: np.ndarray, labels: list[int], transform: Callable):
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class Mixed:
    """Collates, then mixes the batch by one of the two, as torchvision's guide shows it."""

    def __init__(self):
        self.mix = v2.RandomChoice([v2.MixUp(alpha=0.8, num_classes=NUM_CLASSES), v2.CutMix(alpha=1.0, num_classes=NUM_CLASSES)])

    def __call__(self, samples: list) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mix(*default_collate(samples))


def torchvision_light(padding_mode: str) -> Callable:
    crop = v1.RandomCrop(32, padding=4, padding_mode=padding_mode)
    return v1.Compose([crop, v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)])


def torchvision_strong() -> Callable:
    views = [v2.RandomCrop(32, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip(), v2.RandAugment(num_ops=2, magnitude=9)]
    numbers = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return v2.Compose([*views, *numbers, v2.RandomErasing(p=0.25)])


def loader(pixels: np.ndarray, labels: list[int], transform: Callable, num_workers: int, collate: Callable | None = None) -> DataLoader:
    return DataLoader(
        CifarStyle(pixels, labels, transform),
        batch_size=BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=collate,
    )


class Ours:
    """Batches by one index operation on the stored bytes, then `Augment`."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor, augment: Augment):
        self.pixels, self.labels, self.augment, self.number = pixels, labels, augment, 0

    def __iter__(self) -> Iterable:
        order = torch.randperm(NUM_IMAGES, generator=generator_at(0, "order", self.number))
        for rows in order[: NUM_IMAGES // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE):
            self.number += 1
            place = {"seed": 0, "number": self.number, "num_classes": NUM_CLASSES, "image_size": (32, 32), "mean": MEAN, "std": STD}
            yield self.augment(self.pixels.index_select(0, rows), self.labels.index_select(0, rows), **place)


def images_per_second(batches: Iterable, num_epochs: int) -> float:
    start, count = time.perf_counter(), 0
    for _ in range(num_epochs):
        for images, _ in batches:
            count += len(images)
    return count / (time.perf_counter() - start)


def spread(values: list[float], digits: int = 1) -> str:
    return f"{statistics.median(values):,.{digits}f} [{min(values):,.{digits}f}-{max(values):,.{digits}f}]"


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    pixels = torch.randint(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, NUM_CLASSES, (NUM_IMAGES,))
    rows, targets = pixels.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()
    light = Augment(crop_padding=4, flip=0.5)
    strong = Augment(crop_padding=4, flip=0.5, num_ops=2, magnitude=9, erasing=0.25, mixup=0.8, cutmix=1.0)

    # name: (batches, epochs a round); ours is quick, so it runs longer for the clock's sake
    light_ones = {
        "vitlab": (Ours(pixels, labels, light), 10),
        "torchvision, reflected padding": (loader(rows, targets, torchvision_light("reflect"), 0), 1),
        "torchvision, zero padding": (loader(rows, targets, torchvision_light("constant"), 0), 1),
    }
    strong_ones = {
        "vitlab": (Ours(pixels, labels, strong), 2),
        "torchvision v2": (loader(rows, targets, torchvision_strong(), 0, Mixed()), 1),
        "torchvision v2, 2 workers": (loader(rows, targets, torchvision_strong(), 2, Mixed()), 1),
    }
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, pillow {PIL.__version__}, Python {platform.python_version()}")
    print(f"{cpu_name()}, {os.cpu_count()} cores; {arguments.threads} thread(s), {arguments.rounds} rounds after one that is not counted")
    print(f"load average at the start {os.getloadavg()[0]:.2f}, {time.strftime('%Y-%m-%d')}")
    for title, contenders in (("light", light_ones), ("strong", strong_ones)):
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(arguments.rounds + 1):
            for name, (batches, num_epochs) in contenders.items():
                rate = images_per_second(batches, num_epochs)
                if number > 0:
                    rates[name].append(rate)
        print(f"\n{title:32s} {'images/s':>32s} {'vitlab is faster by':>24s}")
        for name, values in rates.items():
            ratios = [ours / theirs for ours, theirs in zip(rates["vitlab"], values, strict=True)]
            print(f"{name:32s} {spread(values, 0):>32s} {spread(ratios) if name != 'vitlab' else '':>24s}")
    print(f"\nload average at the end {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
