"""ImageNet's ILSVRC 2012 (Russakovsky et al. 2015) as torchvision or Kaggle have it: val/ is the test."""

import csv
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitlab.data.files.find import as_text
from vitlab.data.files.listing import list_folders
from vitlab.data.files.store import cache_root
from vitlab.data.sources.layout import listed, visible_folders
from vitlab.data.sources.listed_pictures import Listed
from vitlab.data.sources.picture_files import PictureFiles

WNID = re.compile(r"n\d{8}")
"""What WordNet calls a noun's meaning, such as n01440764."""

INNER = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
"""Where train/ and val/ lie below the root."""

SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
"""Kaggle's classes of the validation images and names of classes, and the development kit's classes."""

DEVKIT = "ILSVRC2012_devkit_t12/data"


def _find(name: str, *folders: Path) -> Path | None:
    return next((folder / name for folder in folders if os.path.isfile(folder / name)), None)


def _short(synsets: dict[str, str]) -> dict[str, str]:
    """Returns a name a class: its first word, all words where others share it, or with its WordNet id."""
    first = {wnid: words.split(",")[0].strip() for wnid, words in synsets.items()}
    often = Counter(first.values())
    named = {wnid: name if often[name] == 1 else synsets[wnid] for wnid, name in first.items()}
    often = Counter(named.values())
    return {wnid: name if often[name] == 1 else f"{name} ({wnid})" for wnid, name in named.items()}


def _synsets(root: Path, base: Path) -> dict[str, str]:
    """Returns the words of each class by its WordNet id: nothing, where no table tells."""
    if file := _find(MAPPING, root, base, root / "ILSVRC"):
        lines = file.read_text(encoding="utf-8").splitlines()
        return dict(line.split(" ", 1) for line in lines if " " in line)
    if file := _find("meta.bin", root, base):
        try:
            known = torch.load(file, weights_only=True)[0]
            return {wnid: ", ".join(words) for wnid, words in known.items()}
        except Exception as error:  # of a damaged file torch raises almost anything
            raise ValueError(
                f"{as_text(file)}: not what torchvision writes ({type(error).__name__}); remove it"
            ) from None
    return {}


def _solution(file: Path) -> dict[str, str]:
    """Returns the WordNet id of each validation image by its name without suffix."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.reader(lines) if row]
    found = {row[0]: row[1].split(" ")[0] for row in rows[1:] if len(row) == 2}
    if len(found) != len(rows) - 1 or not all(WNID.fullmatch(wnid) for wnid in found.values()):
        raise ValueError(f"{as_text(file)}: not Kaggle's table of ImageId and PredictionString")
    return found


def _ground_truth(file: Path, names: list[str]) -> dict[str, str]:
    """Returns the same from the development kit, whose numbers of classes stand in its meta.mat."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ValueError(
            f"{as_text(file)}: to read the meta.mat beside it takes scipy (pip install scipy);"
            f" Kaggle's {SOLUTION} needs nothing"
        ) from None
    meta = file.with_name("meta.mat")
    if not os.path.isfile(meta):
        raise ValueError(f"{as_text(meta)} is missing; it says which class each number of {file.name} is")
    synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
    wnids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
    numbers = [int(line) for line in file.read_text().split()]
    if len(numbers) != len(names):
        raise ValueError(f"{as_text(file)}: {len(numbers):,} numbers for {len(names):,} images in val")
    stems = [os.path.splitext(name)[0] for name in sorted(names)]
    return dict(zip(stems, map(wnids.__getitem__, numbers), strict=True))


class ImageNet(PictureFiles):
    """Source of ImageNet in `root`: train/ with a folder for each WordNet id, and val/ with such folders, or
    flat with a table of its classes beside it.

    A class is called by its first word where a table has words, and numbered by its WordNet id, as in
    torchvision and timm. The images in val/ are the test, as papers have it; what chooses the checkpoint is
    cut from train/.
    """

    def __init__(self, root: str, image_size: int | list[int], **options: Any):
        super().__init__(root, image_size, **options)
        self._names: tuple[str, ...] | None = None

    def _base(self) -> Path:
        for inner in INNER:
            if os.path.isdir(self.root / inner / "train"):
                return self.root / inner
        raise ValueError(
            f"data.root={as_text(self.root)}: no train/ there, nor in {INNER[1]}/ as Kaggle has it; unpack"
            " ILSVRC2012_img_train.tar into train/, a folder a class"
        )

    def _wnids(self, folder: Path) -> dict[str, Path]:
        return {name: path for name, path in visible_folders(folder).items() if WNID.fullmatch(name)}

    def _train(self, base: Path) -> dict[str, Path]:
        """Returns the folder of each class. Raises ValueError where there are fewer than two."""
        folders = self._wnids(base / "train")
        if len(folders) < 2:
            raise ValueError(f"{as_text(base / 'train')}: no folders such as n01440764, one for each class")
        return folders

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index, in the order of the WordNet ids."""
        if self._names is None:
            base = self._base()
            wnids = list(self._train(base))
            synsets = _synsets(self.root, base)
            names = _short({wnid: synsets.get(wnid, wnid) for wnid in wnids})
            self._names = tuple(names[wnid] for wnid in wnids)
        return self._names

    def _list(self) -> dict[str, Listed]:
        base, cache = self._base(), cache_root(self.cache_dir)
        train = self._train(base)
        number = {wnid: index for index, wnid in enumerate(train)}
        found = list_folders(self.root, list(train.values()), cache)
        if empty := [wnid for wnid, count in zip(train, found.counts, strict=True) if not count]:
            raise ValueError(f"{as_text(base / 'train')}: no image in {listed(empty)}")
        labels = [index for index, count in enumerate(found.counts) for _ in range(count)]
        parts = {"train": Listed(found.places, labels)}
        if os.path.isdir(base / "val"):
            parts["test"] = self._validation(base, number, cache)
        return parts

    def _validation(self, base: Path, number: dict[str, int], cache: Path) -> Listed:
        val = base / "val"
        folders = self._wnids(val)
        if folders:
            if unknown := [wnid for wnid in folders if wnid not in number]:
                raise ValueError(f"{as_text(val)}: {listed(unknown)} are no classes of train")
            found = list_folders(self.root, list(folders.values()), cache)
            counted = zip(folders, found.counts, strict=True)
            return Listed(found.places, [number[wnid] for wnid, count in counted for _ in range(count)])
        found = list_folders(self.root, [val], cache)
        names = [os.path.basename(name) for name in found.places.names]
        wnid_of = self._table(base, names)
        stems = [os.path.splitext(name)[0] for name in names]
        if missing := [stem for stem in stems if stem not in wnid_of]:
            raise ValueError(f"{as_text(val)}: no class is known of {listed(missing)}")
        # of a part of ImageNet's classes the images of others are no test
        kept = np.array([place for place, stem in enumerate(stems) if wnid_of[stem] in number], np.int64)
        if not len(kept):
            raise ValueError(f"{as_text(val)}: no image of a class that train has")
        order = sorted(kept.tolist(), key=lambda place: (number[wnid_of[stems[place]]], stems[place]))
        labels = [number[wnid_of[stems[place]]] for place in order]
        return Listed(found.places.take(np.array(order, np.int64)), labels)

    def _table(self, base: Path, names: list[str]) -> dict[str, str]:
        if file := _find(SOLUTION, self.root, base, self.root / "ILSVRC"):
            return _solution(file)
        if file := _find(TRUTH, self.root, base, self.root / DEVKIT, self.root / "data"):
            return _ground_truth(file, names)
        raise ValueError(
            f"{as_text(base / 'val')}: images without folders, and no table of their classes: put Kaggle's"
            f" {SOLUTION}, or the development kit's {DEVKIT}/{TRUTH}, into {as_text(self.root)}"
        )
