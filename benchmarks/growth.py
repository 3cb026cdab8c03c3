"""Memory of a training's processes, the loader's workers among them, over epochs of pictures that are decoded
at each visit.

Small JPEGs in class folders, links to 200 files, so that what is counted is what a set's size makes grow:
lists of names, and pages of memory that workers begin with and write to. Told is the sum over all processes
of their proportional set size (PSS, in which a page that several share counts once), after each quarter of an
epoch. Flat means that more epochs take no more memory.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from benchmarks.machine import Setting, table
from benchmarks.photographs import make_photographs
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.folder import ImageFolder

LIBRARIES = ("pillow", "torchvision")
SIZE = (64, 48)
IMAGE_SIZE, BATCH, WORKERS, EPOCHS, QUARTERS = 32, 64, 2, 3, 4
ORIGINALS = 200


def children_of(process: int) -> list[int]:
    """Returns the processes that a process has begun and that are still there."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def pss_mib() -> float:
    """Returns the proportional set size of this process and its workers in MiB; Linux alone has it."""
    total = 0
    for process in (os.getpid(), *children_of(os.getpid())):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def make_links(folder: Path, count: int) -> None:
    """Makes class folders of `count` links to few files."""
    originals = folder.parent / "originals"
    make_photographs(originals, SIZE, ORIGINALS)
    for of_class in sorted(originals.iterdir()):
        (folder / of_class.name).mkdir(parents=True)
        files = sorted(of_class.iterdir())
        for number in range(count // 2):
            (folder / of_class.name / f"{number:07d}.jpg").symlink_to(files[number % len(files)])


def quarters(data: ImageData) -> Iterator[float]:
    """Yields the memory after each quarter of each epoch."""
    loader, order = data.train_dataloader(), data.training_order()
    ends = {len(order) * quarter // QUARTERS for quarter in range(1, QUARTERS + 1)}
    for epoch in range(EPOCHS):
        loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for done, _ in enumerate(loader, start=1):
            if done in ends:
                yield pss_mib()


def measure(setting: Setting, count: int | None = None) -> Iterator[str]:
    torch.set_num_threads(1)
    count = count or (2_000 if setting.quick else 20_000)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        make_links(folder, count)
        Image.init()
        source = ImageFolder(str(folder), IMAGE_SIZE, cache_dir=f"{scratch}/cache", store="none")
        augment, fixed = Augment(resized_crop=[0.3, 1.0], flip=0.5), {"split_seed": 0, "seed": 0}
        statistics = {"mean": [0.5] * 3, "std": [0.25] * 3, "val_fraction": 0.01, "test_fraction": 0.01}
        data = ImageData(source, augment, IMAGE_SIZE, 3, 2, BATCH, WORKERS, **statistics, **fixed)
        data.setup()
        before, found = pss_mib(), list(quarters(data))
    rows = [
        (f"epoch {epoch + 1}", *(f"{value:,.0f}" for value in found[epoch * QUARTERS :][:QUARTERS]))
        for epoch in range(EPOCHS)
    ]
    yield f"### {count:,} pictures, {WORKERS} workers, MiB of all processes; {before:,.0f} before the workers"
    yield table(("", "1/4", "1/2", "3/4", "end"), rows)
    growth = found[-1] - found[QUARTERS - 1]
    yield f"From the end of the first epoch to that of the last: {growth:+,.1f} MiB."
