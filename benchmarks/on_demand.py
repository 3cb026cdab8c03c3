"""How fast photographs become training batches at 224 px where nothing is kept decoded: vitlab beside
torchvision, webdataset, datasets and litdata, and beside decoding alone.

JPEGs of 500 x 375 px (quality 90), cut out of scikit-learn's two photographs, in class folders; the same
bytes in webdataset's tar shards and litdata's chunks. All do the same work on the same number of worker
processes: decode, resized crop of 8 to 100 % to 224 px, flip, to numbers, normalise, batches of 64. Decoding
alone is a loader whose workers decode each file and send nothing back. With `--clock cpu` the seconds of work
of all processes count, the workers' among them: fair on a busy machine, where a second by the wall says
little.
It does not see litdata's workers, which outlive their loader.
litdata is timed where it is installed (`pip install litdata`): in the lock it would hold back other packages.
"""

import gc
import multiprocessing
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from benchmarks.machine import Setting, missing, table
from benchmarks.photographs import BATCH, IMAGE_SIZE, MEAN, STD, make_photographs
from benchmarks.timing import Clock, ratios, spread
from vitlab.data.augment.policy import Augment
from vitlab.data.files.crops import JPEG_START
from vitlab.data.image_data import ImageData
from vitlab.data.sources.folder import ImageFolder

LIBRARIES = ("torchvision", "pillow", "simplejpeg", "webdataset", "datasets", "scikit-learn")
SIZE = (500, 375)
EPOCHS = 3
WORKERS = 2
SAMPLES_A_SHARD = 32
PEER = "torchvision ImageFolder"

VIEWS = [transforms.RandomResizedCrop(IMAGE_SIZE), transforms.RandomHorizontalFlip()]
USUAL = transforms.Compose([*VIEWS, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
OF_TENSORS = transforms.Compose(
    [*VIEWS, transforms.ConvertImageDtype(torch.float32), transforms.Normalize(MEAN, STD)]
)
"""The same for litdata, which decodes by torchvision."""


def work_of_all() -> float:
    """Returns the seconds of work of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def epochs_of(loader: DataLoader) -> int:
    """Runs a loader's epochs, and returns how many images that was; its workers have ended then, and
    count."""
    count = 0
    for _ in range(EPOCHS):
        for batch in loader:
            images = batch[0] if isinstance(batch, list | tuple) else batch["image"]
            count += len(images)
    del loader
    gc.collect()
    return count


def loader_of(data: Any, **more: Any) -> DataLoader:
    return DataLoader(data, BATCH, num_workers=WORKERS, persistent_workers=True, **more)


def torchvision(folder: Path) -> int:
    return epochs_of(loader_of(datasets.ImageFolder(str(folder), USUAL), shuffle=True))


def webdataset(folder: Path) -> int:
    import webdataset as wds

    shards = sorted(str(file) for file in (folder.parent / "shards").glob("*.tar"))
    data = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(256).decode("pil").to_tuple("jpg", "cls")
    return epochs_of(loader_of(data.map_tuple(USUAL, int)))


def _transformed(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"image": [USUAL(image.convert("RGB")) for image in rows["image"]], "label": rows["label"]}


def hugging_face(folder: Path) -> int:
    from datasets import load_dataset

    data = load_dataset(
        "imagefolder", data_dir=str(folder), split="train", cache_dir=str(folder.parent / "hf")
    )
    return epochs_of(loader_of(data.with_transform(_transformed), shuffle=True))


def litdata(folder: Path) -> int:
    import litdata as ld

    class Crops(ld.StreamingDataset):
        def __getitem__(self, index: Any) -> tuple[Tensor, int]:
            sample = super().__getitem__(index)
            return OF_TENSORS(sample["image"]), sample["label"]

    data = Crops(str(folder.parent / "litdata"), shuffle=True)
    loader = ld.StreamingDataLoader(data, batch_size=BATCH, num_workers=WORKERS, persistent_workers=True)
    return epochs_of(loader)


def open_ours(folder: Path) -> ImageData:
    source = ImageFolder(str(folder), IMAGE_SIZE, cache_dir=str(folder.parent / "cache"), store="none")
    augment = Augment(resized_crop=[0.08, 1.0], flip=0.5)
    fixed = {"val_fraction": 0.01, "test_fraction": 0.01, "split_seed": 0, "seed": 0}
    data = ImageData(source, augment, IMAGE_SIZE, 3, 2, BATCH, WORKERS, mean=MEAN, std=STD, **fixed)
    data.setup()
    return data


def vitlab(folder: Path) -> int:
    data = open_ours(folder)
    place = {"seed": 0, "num_classes": 2, "image_size": data.image_size, "is_cropped": True}
    count, loader = 0, data.train_dataloader()
    for _ in range(EPOCHS):
        for batch in loader:
            place["number"] = batch.number
            count += len(data.augment(batch.images, batch.labels, mean=MEAN, std=STD, **place)[0])
    del loader
    gc.collect()
    return count


class Decoded(Dataset):
    """Decodes a file and gives nothing of it."""

    def __init__(self, folder: Path, decode: Callable[[Path], Any]):
        self.files = sorted(folder.rglob("*.jpg"))
        self.decode = decode

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[int, int]:
        self.decode(self.files[index])
        return index, 0


def by_pillow(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def by_simplejpeg(file: Path) -> np.ndarray:
    import simplejpeg

    content = file.read_bytes()
    assert content.startswith(JPEG_START)
    return simplejpeg.decode_jpeg(content, "RGB")


def decoding_by(decode: Callable[[Path], Any]) -> Callable[[Path], int]:
    return lambda folder: epochs_of(loader_of(Decoded(folder, decode), shuffle=True))


WAYS: dict[str, Callable[[Path], int]] = {
    PEER: torchvision,
    "webdataset": webdataset,
    "datasets": hugging_face,
    "litdata": litdata,
    "vitlab": vitlab,
    "decoding alone, Pillow": decoding_by(by_pillow),
    "decoding alone, simplejpeg": decoding_by(by_simplejpeg),
}


def write_shards(folder: Path) -> None:
    """Writes the files of class folders into tars as webdataset reads them."""
    (folder.parent / "shards").mkdir()
    files = sorted(folder.rglob("*.jpg"))
    labels = {name: index for index, name in enumerate(sorted({file.parent.name for file in files}))}
    order = np.random.default_rng(0).permutation(len(files))
    for first in range(0, len(files), SAMPLES_A_SHARD):
        with tarfile.open(folder.parent / "shards" / f"{first:06d}.tar", "w") as shard:
            for number in order[first : first + SAMPLES_A_SHARD].tolist():
                label = folder.parent / "label"
                label.write_text(str(labels[files[number].parent.name]))
                shard.add(files[number], f"{number:06d}.jpg")
                shard.add(label, f"{number:06d}.cls")


def _sample(at: tuple[str, int]) -> dict[str, Any]:
    return {"image": Image.open(at[0]), "label": at[1]}


def write_chunks(folder: Path) -> None:
    """Writes them as litdata's chunks, which keep a JPEG's bytes."""
    import litdata as ld

    files = sorted(folder.rglob("*.jpg"))
    names = sorted({file.parent.name for file in files})
    inputs = [(str(file), names.index(file.parent.name)) for file in files]
    target = str(folder.parent / "litdata")
    ld.optimize(_sample, inputs, target, chunk_bytes="8MB", num_workers=1, verbose=False)
    multiprocessing.set_start_method("fork", force=True)  # litdata has made it spawn, for everybody


def rate(way: Callable[[Path], int], folder: Path, clock: Clock) -> float:
    start = clock()
    return way(folder) / (clock() - start)


def measure(setting: Setting, count: int | None = None) -> Iterator[str]:
    rounds = setting.rounds_or(4)
    clock = work_of_all if setting.clock == "cpu" else time.perf_counter
    torch.set_num_threads(1)  # the workers have the cores
    count = count or (512 if setting.quick else 1024)  # below, starts of workers outweigh the images
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "photographs")
        make_photographs(folder, SIZE, count)
        write_shards(folder)
        ways = dict(WAYS)
        if missing(["litdata"]):
            ways.pop("litdata")
        else:
            write_chunks(folder)
        names, found = list(ways), []
        for number in range(rounds + 1):
            turn = number % len(names)
            found.append({name: rate(WAYS[name], folder, clock) for name in names[turn:] + names[:turn]})
    rates = {name: [each[name] for each in found[1:]] for name in names}
    rows = [
        (
            name,
            spread(values, 0),
            spread(ratios(values, rates[PEER])),
            *(spread(ratios(values, rates[f"decoding alone, {by}"])) for by in ("Pillow", "simplejpeg")),
        )
        for name, values in rates.items()
    ]
    yield (
        f"### {count} JPEGs of {SIZE[0]} x {SIZE[1]} px to {IMAGE_SIZE} px, {EPOCHS} epochs, {WORKERS}"
        " workers,"
        f" {rounds} rounds and one uncounted"
    )
    yield table(
        ("", setting.rate_unit, "over torchvision", "over decoding, Pillow", "over decoding, simplejpeg"),
        rows,
    )
