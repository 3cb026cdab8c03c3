"""Tar files of samples, as WebDataset has them: `KEY.jpg`, and `KEY.cls`, `KEY.json` or `KEY.txt`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vitlab.data.files.find import as_text
from vitlab.data.files.names import Names
from vitlab.data.files.store import cache_root
from vitlab.data.files.tars import LabelOf, Samples, read_tars
from vitlab.data.sources.layout import PARTS, class_name, in_order, listed
from vitlab.data.sources.listed_pictures import Listed
from vitlab.data.sources.picture_files import PictureFiles


def part_of(shard: Path, root: Path) -> str | None:
    """Returns a tar's part by its folder, or by what its name begins with; None where neither says one."""
    folder = shard.parent.name.lower() if shard.parent != root else ""
    word = re.match(r"[a-z]*", shard.name.lower())
    return PARTS.get(folder) or PARTS.get(word[0] if word else "")


def _tars(root: Path) -> list[Path]:
    folders = [root, *(root / name for name in sorted(os.listdir(root)) if name.lower() in PARTS)]
    return [
        folder / name
        for folder in folders
        if os.path.isdir(folder)
        for name in sorted(os.listdir(folder))
        if name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"))
    ]


def has_shards(root: str) -> bool:
    """Tells whether a folder holds tars, at once or in folders of its parts."""
    try:
        return bool(_tars(Path(root)))
    except OSError:
        return False


def find_shards(root: Path, whole: bool = False) -> dict[str, list[Path]]:
    """Returns the tars of each part, or of "all". Raises ValueError where only some say their part."""
    try:
        shards = _tars(root)
    except OSError as error:
        why = f"{error.strerror}; name a folder of .tar files"
        raise ValueError(f"data.root={as_text(root)}: {why}") from None
    if not shards:
        raise ValueError(f"data.root={as_text(root)}: no .tar file there; name a folder that has some")
    parts: dict[str | None, list[Path]] = {}
    for shard in shards:
        parts.setdefault(part_of(shard, root), []).append(shard)
    if whole:
        return {"all": shards}
    if None in parts and len(parts) > 1:
        without = listed(shard.name for shard in parts[None])
        raise ValueError(
            f"data.root={as_text(root)}: {without} beside tars of {listed(part for part in parts if part)}:"
            " give each one a name that begins with train, val or test"
        )
    if None in parts:
        return {"all": parts[None]}
    ordered = {part: parts[part] for part in ("train", "val", "test") if part in parts}
    if "train" not in ordered:
        raise ValueError(f"data.root={as_text(root)}: tars of {listed(ordered)} without train")
    return ordered


def _numbered(labels: Names) -> tuple[list[str], np.ndarray]:
    """Returns the words among many labels, and the place of each label's word among them."""
    seen: dict[bytes, int] = {}
    every = labels.encoded(np.arange(len(labels)))
    numbers = np.fromiter((seen.setdefault(label, len(seen)) for label in every), np.int64, len(labels))
    return [class_name(os.fsdecode(word)) for word in seen], numbers


class Shards(PictureFiles):
    """Source of the samples in the .tar files of `root`, which may name their part: `train-000.tar`, or
    `train/000.tar`.

    A label is what the sample's `.cls` or `.txt` says, or `label_key` of its `.json`; `label_suffix` chooses
    one of these. Where `root` has a `classes.txt`, a name a line, labels that are numbers count its lines
    from 0. The order is that of class folders with the same samples.
    """

    def __init__(
        self,
        root: str,
        image_size: int | list[int],
        label_suffix: str | None = None,
        label_key: str = "label",
        **options: Any,
    ):
        super().__init__(root, image_size, **options)
        self.label_of = LabelOf(label_suffix and label_suffix.lstrip(".").lower(), label_key)
        self._found: tuple[dict[str, tuple[Samples, np.ndarray]], tuple[str, ...]] | None = None

    def _read(self) -> tuple[dict[str, tuple[Samples, np.ndarray]], tuple[str, ...]]:
        """Returns the samples of each part with the number of each one's class, and the classes."""
        if self._found is not None:
            return self._found
        cache, parts, known = cache_root(self.cache_dir), {}, {}
        for part, shards in find_shards(self.root, self.whole).items():
            samples = read_tars(shards, self.label_of, cache)
            words, numbers = _numbered(samples.labels)
            words = self._named(words)
            if part in ("all", "train"):
                ordered = self.expected or sorted(words, key=in_order)
                known = {word: number for number, word in enumerate(ordered)}
            if unknown := [word for word in words if word not in known]:
                what = f"{listed(unknown)} in {part} are no classes of {listed(known)}"
                raise ValueError(f"{self.origin}: {what}")
            parts[part] = samples, np.array([known[word] for word in words], np.int64)[numbers]
        if len(known) < 2 and not self.whole:
            raise ValueError(f"{self.origin}: only one class ({listed(known)}); it takes two or more")
        self._found = parts, tuple(known)
        return self._found

    def _named(self, words: Sequence[str]) -> list[str]:
        file = self.root / "classes.txt"
        if not os.path.isfile(file):
            return list(words)
        lines = map(str.strip, file.read_text(encoding="utf-8").splitlines())
        names = [class_name(line) for line in lines if line]
        if beyond := [word for word in words if not word.isdecimal() or int(word) >= len(names)]:
            named = f"{as_text(file)} names the classes 0 to {len(names) - 1}"
            raise ValueError(f"{named}; the tars have {listed(beyond)}")
        return [names[int(word)] for word in words]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index: all labels, sorted."""
        return self._read()[1]

    def _list(self) -> dict[str, Listed]:
        listed_parts = {}
        for part, (samples, numbers) in self._read()[0].items():
            names = list(samples.places.names)
            by_name = np.array(sorted(range(len(numbers)), key=names.__getitem__), np.int64)
            order = by_name[numbers[by_name].argsort(kind="stable")]
            listed_parts[part] = Listed(samples.places.take(order), numbers[order].tolist())
        return listed_parts
