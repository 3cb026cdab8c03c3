"""How fast training batches of small images are made: vitlab's batched augmentation beside torchvision's
per-sample pipeline.

Random 32 x 32 RGB images in memory, batches of 128, on the CPU; a run is a whole epoch. All do the same work:
crop out of 4 pixels of padding, flip, normalise; strong: RandAugment(2, 9), erasing 0.25, MixUp 0.8 or CutMix
1.0 besides. Two things differ: our RandAugment is bilinear where torchvision's takes the nearest pixel, and
each sample is mixed by its own share where torchvision mixes a batch by one.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms as v1
from torchvision.transforms import v2

from benchmarks.machine import Setting, table
from benchmarks.timing import Contestant, interleave, ratios, spread
from vitlab.data.augment.policy import Augment
from vitlab.randomness import generator_at

LIBRARIES = ("torchvision", "pillow")
BATCH, NUM_CLASSES = 128, 10
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]

LIGHT = Augment(crop_padding=4, flip=0.5)
STRONG = Augment(crop_padding=4, flip=0.5, num_ops=2, magnitude=9, erasing=0.25, mixup=0.8, cutmix=1.0)


class CifarStyle(Dataset):
    """What `torchvision.datasets.CIFAR10` does for an image: from an array row to PIL, then the transform."""

    def __init__(self, pixels: np.ndarray, labels: list[int], transform: Callable):
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class Mixed:
    """Collates, then mixes the batch by one of the two, as torchvision's guide shows it."""

    def __init__(self):
        self.mix = v2.RandomChoice(
            [v2.MixUp(alpha=0.8, num_classes=NUM_CLASSES), v2.CutMix(alpha=1.0, num_classes=NUM_CLASSES)]
        )

    def __call__(self, samples: list) -> tuple[Tensor, Tensor]:
        return self.mix(*default_collate(samples))


def torchvision_light(padding_mode: str) -> Callable:
    crop = v1.RandomCrop(32, padding=4, padding_mode=padding_mode)
    return v1.Compose([crop, v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)])


def torchvision_strong() -> Callable:
    views = [
        v2.RandomCrop(32, padding=4, padding_mode="reflect"),
        v2.RandomHorizontalFlip(),
        v2.RandAugment(num_ops=2, magnitude=9),
    ]
    numbers = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return v2.Compose([*views, *numbers, v2.RandomErasing(p=0.25)])


class Ours:
    """Batches by one index operation on the stored bytes, then `Augment`."""

    def __init__(self, pixels: Tensor, labels: Tensor, augment: Augment):
        self.pixels, self.labels, self.augment, self.number = pixels, labels, augment, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels), generator=generator_at(0, "order", self.number))
        for rows in order[: len(order) // BATCH * BATCH].split(BATCH):
            self.number += 1
            place = {
                "seed": 0,
                "number": self.number,
                "num_classes": NUM_CLASSES,
                "image_size": (32, 32),
                "mean": MEAN,
                "std": STD,
            }
            yield self.augment(self.pixels.index_select(0, rows), self.labels.index_select(0, rows), **place)


def epoch_of(batches: Iterable) -> Contestant:
    def epoch() -> None:
        for _ in batches:
            pass

    return Contestant(epoch)


def measure(setting: Setting, num_images: int | None = None) -> Iterator[str]:
    threads, rounds = setting.use_threads(), setting.rounds_or(4)
    num_images = num_images or (1_000 if setting.quick else 10_000)
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (num_images, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, NUM_CLASSES, (num_images,))
    rows, targets = pixels.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()

    def loader(transform: Callable, num_workers: int = 0, collate: Callable | None = None) -> DataLoader:
        data = CifarStyle(rows, targets, transform)
        workers = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
        return DataLoader(data, BATCH, shuffle=True, drop_last=True, collate_fn=collate, **workers)

    contests = {
        "light: crop, flip, normalise": {
            "vitlab": Ours(pixels, labels, LIGHT),
            "torchvision, reflected padding": loader(torchvision_light("reflect")),
            "torchvision, zero padding": loader(torchvision_light("constant")),
        },
        "strong: RandAugment, erasing, MixUp or CutMix besides": {
            "vitlab": Ours(pixels, labels, STRONG),
            "torchvision v2": loader(torchvision_strong(), 0, Mixed()),
        },
    }
    if setting.clock == "wall":  # a process's own clock does not see its workers
        contests["strong: RandAugment, erasing, MixUp or CutMix besides"]["torchvision v2, 2 workers"] = (
            loader(torchvision_strong(), 2, Mixed())
        )
    for title, contenders in contests.items():
        contestants = {name: epoch_of(batches) for name, batches in contenders.items()}
        seconds = interleave(contestants, rounds, setting.ticks(), 0.1 if setting.quick else 0.5)
        count = num_images // BATCH * BATCH
        shown = [
            (
                name,
                spread([count / value for value in values], 0),
                spread(ratios(values, seconds["vitlab"]), 1) if name != "vitlab" else "",
            )
            for name, values in seconds.items()
        ]
        yield (
            f"### {title}, {num_images:,} images of 32 px, batch {BATCH}, {threads} thread(s), {rounds}"
            " rounds"
        )
        yield table(("", setting.rate_unit, "vitlab over it"), shown)
