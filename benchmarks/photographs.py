"""How fast photographs become training batches at 224 px: decoded into the cache, read from it, and by
torchvision's DataLoader with PIL.

JPEGs (quality 90) of several sizes, cut out of scikit-learn's two photographs, in class folders. Each round
runs torchvision's DataLoader (PIL, RandomResizedCrop(224), flip, to numbers, normalise), our decoding of the
same files into a fresh cache, and our first epoch from it with the same augmentation. Decoding is once for a
data set, torchvision's once an epoch.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.machine import Setting, table
from benchmarks.timing import Clock, ratios, spread
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.folder import ImageFolder

LIBRARIES = ("torchvision", "pillow", "scikit-learn")
SIZES = ((320, 240), (500, 375), (1280, 960))
IMAGE_SIZE, STORED_SIZE, BATCH = 224, 256, 64
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PEER = "torchvision, PIL"


def make_photographs(folder: Path, size: tuple[int, int], count: int) -> None:
    """Writes `count` windows of the two photographs, each a class, as JPEGs of `size` (width, height)."""
    from sklearn.datasets import load_sample_image

    chance = random.Random(0)
    for name in ("china", "flower"):
        photograph = Image.fromarray(load_sample_image(f"{name}.jpg"))
        (folder / name).mkdir(parents=True)
        for number in range(count // 2):
            width = chance.randint(photograph.width // 2, photograph.width)
            height = min(photograph.height, width * size[1] // size[0])
            left, top = (
                chance.randint(0, photograph.width - width),
                chance.randint(0, photograph.height - height),
            )
            window = photograph.crop((left, top, left + width, top + height))
            window.resize(size, Image.Resampling.BICUBIC).save(folder / name / f"{number}.jpg", quality=90)


def torchvision_epoch(folder: Path, num_workers: int = 0) -> None:
    """Makes an epoch by the usual pipeline."""
    views = [transforms.RandomResizedCrop(IMAGE_SIZE), transforms.RandomHorizontalFlip()]
    numbers = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    data = datasets.ImageFolder(str(folder), transforms.Compose([*views, *numbers]))
    for _ in DataLoader(data, BATCH, shuffle=True, num_workers=num_workers):
        pass


def open_ours(folder: Path, cache: Path) -> ImageData:
    """Returns our data for that folder, decoded where the cache does not hold it yet."""
    source = ImageFolder(str(folder), STORED_SIZE, cache_dir=str(cache))
    augment = Augment(resized_crop=[0.08, 1.0], flip=0.5)
    fixed = {"val_fraction": 0.01, "test_fraction": 0.01, "split_seed": 0, "seed": 0}
    data = ImageData(
        source, augment, IMAGE_SIZE, 3, len(source.class_names), BATCH, 0, mean=MEAN, std=STD, **fixed
    )
    data.setup()
    return data


def decode(folder: Path, cache: Path) -> None:
    open_ours(folder, cache)


def our_epoch(data: ImageData) -> int:
    """Makes an epoch from the cache, and returns how many images that was."""
    count = 0
    for batch in data.train_dataloader():
        place = {
            "seed": 0,
            "number": batch.number,
            "num_classes": data.num_classes,
            "image_size": data.image_size,
        }
        count += len(data.augment(batch.images, batch.labels, mean=MEAN, std=STD, **place)[0])
    return count


def rate(work: Callable[[], int | None], count: int, clock: Clock) -> float:
    """Returns images a second; `count` is how many, unless the work says so itself."""
    start = clock()
    made = work() or count
    return made / (clock() - start)


def one_round(folder: Path, cache: Path, count: int, clock: Clock, num_workers: int) -> dict[str, float]:
    """Returns the images a second of each way, once."""
    rates = {PEER: rate(lambda: torchvision_epoch(folder), count, clock)}
    if num_workers:
        rates[f"{PEER}, {num_workers} workers"] = rate(
            lambda: torchvision_epoch(folder, num_workers), count, clock
        )
    rates["vitlab, decoding into the cache"] = rate(lambda: decode(folder, cache), count, clock)
    data = open_ours(folder, cache)
    rates["vitlab, an epoch from the cache"] = rate(lambda: our_epoch(data), count, clock)
    return rates


def measure(setting: Setting, count: int | None = None) -> Iterator[str]:
    threads, rounds, clock = setting.use_threads(), setting.rounds_or(3), setting.ticks()
    sizes, count = SIZES[:1] if setting.quick else SIZES, count or (80 if setting.quick else 256)
    num_workers = (
        threads if setting.clock == "wall" and threads > 1 else 0
    )  # a process's own clock does not see its workers
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "photographs")
            make_photographs(folder, size, count)
            found = [
                one_round(folder, Path(scratch, f"cache {number}"), count, clock, num_workers)
                for number in range(rounds + 1)
            ][1:]
        rates = {name: [each[name] for each in found] for name in found[0]}
        times = f"{threads} thread(s), {rounds} rounds and one uncounted"
        yield f"### {count} JPEGs of {size[0]} x {size[1]} px, stored at {STORED_SIZE} px, {times}"
        rows = [
            (name, spread(values, 0), spread(ratios(values, rates[PEER]))) for name, values in rates.items()
        ]
        yield table(("", setting.rate_unit, "over torchvision"), rows)
