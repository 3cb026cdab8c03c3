"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 32 × 32 pixels, in torchvision's layout."""

import hashlib
import io
import os
import pickle
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vitlab.data.samples import HeldImages, Samples
from vitlab.data.source import Source
from vitlab.files.download import download_into
from vitlab.files.home import expanded

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class PickledDtype:
    """Stands in for numpy.dtype while a batch is read: only its name counts."""

    def __init__(self, name: str, *_: Any):
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


class PickledArray:
    """Stands in for numpy.ndarray while a batch is read: numpy would trust the sizes that a file states."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if dtype.name != "u1" or fortran:
            raise pickle.UnpicklingError(f"an array of {dtype.name} instead of u1 (8-bit pixels)")
        content = data.encode("latin1") if isinstance(data, str) else data
        self.pixels = np.frombuffer(content, np.uint8).reshape(shape)


def _reconstruct(*_: Any) -> PickledArray:
    return PickledArray()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text encoded as {encoding}")
    return text.encode("latin1")


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledDtype,
    ("_codecs", "encode"): _encode,
}
"""All that a batch may name: a pickle can call whatever it names, and anything else is refused."""


class BatchUnpickler(pickle.Unpickler):
    """Reads dicts, lists, numbers, strings and arrays of pixels; raises UnpicklingError for anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        return ALLOWED[module, name]


def read_batch(path: Path, md5: str | None) -> dict[str, Any]:
    """Returns what a CIFAR file holds, by name. Raises ValueError if it is none, or not that of `md5`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"data.root: {path} cannot be read ({error.strerror}); put it there, or give data.download=true"
        ) from error
    if md5 is not None and (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise ValueError(
            f"{path}: its MD5 is {found}, the original's {md5}; fetch it again, or accept it with"
            " data.verify=false"
        )
    try:
        batch = BatchUnpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(batch, dict):
            raise pickle.UnpicklingError(f"a {type(batch).__name__} instead of a dict")
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(
            f"{path}: not a CIFAR file ({' '.join(str(error).split())}); replace it with the original"
        ) from error
    return batch


class CIFAR(Source):
    """Source of CIFAR-10 or CIFAR-100 (its 100 fine labels), by `num_classes`, from
    `root`/cifar-10-batches-py or `root`/cifar-100-python.

    With `verify` each file must be the original, by MD5; with `download` missing data is fetched by
    `prepare`. Raises ValueError for files that are missing, changed, or something else than CIFAR.
    """

    stored_size = (32, 32)

    def __init__(self, root: str, num_classes: Literal[10, 100], verify: bool = True, download: bool = False):
        if num_classes not in (10, 100):
            raise ValueError(f"data.num_classes={num_classes}: CIFAR has 10 or 100 classes")
        self.root = expanded("data.root", root)
        self.num_classes = num_classes
        self.verify = verify
        self.download = download

    def _original(self) -> Any:
        """Returns torchvision's class, which knows the files' names, their MD5 and where to find them."""
        from torchvision import datasets  # takes a second to import

        return datasets.CIFAR10 if self.num_classes == 10 else datasets.CIFAR100

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.root / self._original().base_folder

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index, from the file of names (CIFAR-10 can do without)."""
        meta = self._original().meta
        path = self.folder / meta["filename"]
        if self.num_classes == 10 and not os.path.exists(path):
            return CIFAR10_CLASSES
        names = read_batch(path, meta["md5"] if self.verify else None).get(meta["key"])
        if not isinstance(names, list) or len(names) != self.num_classes:
            raise ValueError(
                f"{path}: holds no {self.num_classes} {meta['key']}; replace it with the original"
            )
        return tuple(str(name) for name in names)

    def is_here(self) -> bool:
        original = self._original()
        names = [name for name, _ in (*original.train_list, *original.test_list)]
        missing = [name for name in names if not os.path.isfile(self.folder / name)]
        if missing and not self.download:
            raise ValueError(
                f"data.root={self.root}: no {missing[0]} in {self.folder}; name the folder above, or give"
                " data.download=true"
            )
        return not missing

    def prepare(self) -> None:
        """Downloads the archive if asked and needed."""
        if self.download:
            from torchvision.datasets.utils import download_and_extract_archive

            cifar = self._original()
            which = {"filename": cifar.filename, "md5": cifar.tgz_md5, "remove_finished": True}
            fetch = partial(download_and_extract_archive, cifar.url, **which)
            download_into(self.folder, fetch, f"unpack {cifar.url} in data.root={self.root}")

    def _part(self, files: list[list[str]]) -> HeldImages:
        """Reads some of the files, joined in their order."""
        images, labels = [], []
        for name, md5 in files:
            batch = read_batch(self.folder / name, md5 if self.verify else None)
            array, numbers = (
                batch.get("data"),
                batch.get("labels" if self.num_classes == 10 else "fine_labels"),
            )
            pixels = array.pixels if isinstance(array, PickledArray) else np.empty(0, np.uint8)
            if not isinstance(numbers, list) or pixels.shape != (len(numbers), 3072):
                raise ValueError(
                    f"{self.folder / name}: holds no images of 3 × 32 × 32 with one label each; replace it"
                    " with the original"
                )
            if not all(isinstance(label, int) and 0 <= label < self.num_classes for label in numbers):
                raise ValueError(
                    f"{self.folder / name}: has labels other than 0 to {self.num_classes - 1}; replace it"
                    " with the original"
                )
            images.append(pixels)
            labels += numbers
        pixels = torch.from_numpy(np.concatenate(images).reshape(-1, 3, 32, 32))
        return HeldImages(pixels, torch.tensor(labels))

    def own_parts(self) -> set[str]:
        return {"train", "test"}

    def load(self) -> dict[str, Samples]:
        """Returns the parts "train" and "test"."""
        original = self._original()
        return {"train": self._part(original.train_list), "test": self._part(original.test_list)}
