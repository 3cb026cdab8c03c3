"""What a careful person wants to know of data before they train on it, as numbers and sentences."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from statistics import median
from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from vitlab.data.files.band_files import kind_of
from vitlab.data.files.decode import upright_size
from vitlab.data.files.decoded import DecodedFiles
from vitlab.data.files.find import as_text
from vitlab.data.image_data import ImageData
from vitlab.data.samples import Samples
from vitlab.data.splits import Split
from vitlab.data.targets import codes_of, counts_of, has
from vitlab.files.threads import in_threads
from vitlab.randomness import generator_at

COMMON = 5
"""Sizes that are named as the most common ones."""


class Look(NamedTuple):
    """What one picture turned out to be: a hash of its bytes, (width, height), Pillow's mode and format where
    it knows them, and why it cannot be used, or nothing."""

    digest: int
    size: tuple[int, int] | None = None
    mode: str | None = None
    kind: str | None = None
    wrong: str | None = None


def _why(error: Exception | str, picture: Any) -> str:
    """Returns the reason alone of a picture that cannot be used."""
    text = as_text(str(error)).removeprefix(f"{as_text(str(picture))}: ")
    found = re.fullmatch(
        r"cannot be used as an image \((.*)\); replace the file or remove it", text, re.DOTALL
    )
    return found[1] if found else text


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def _look(samples: Samples, index: int) -> Look:
    """Opens a picture as the run would."""
    assert samples.paths is not None
    picture, look = samples.paths[index], Look(0)
    try:
        with picture.open("rb") as file:
            content = file.read()
        look = Look(_digest(content))
        # the run's own reading, next, knows more formats, or says what is wrong
        with suppress(Exception), Image.open(BytesIO(content)) as image:
            look = Look(look.digest, image.size, image.mode, image.format)
        samples.fetch(torch.tensor([index]))
        if look.size is None and isinstance(samples, DecodedFiles):  # bands, or more bits than Pillow reads
            how = samples.decoding
            height, width = upright_size(picture, how.channels, how.reading)
            look = look._replace(size=(width, height), kind=kind_of(picture))
    except (OSError, ValueError) as error:
        return look._replace(wrong=_why(error, picture))
    return look


def look_over(split: Split, name: str) -> list[Look]:
    """Returns what each image of a split turned out to be; of images that are no files, a hash alone."""
    samples = split.samples
    if samples.paths is None:
        pixels = (image for places in split.indices.split(1024) for image in samples.fetch(places))
        return [Look(_digest(image.numpy().tobytes())) for image in pixels]
    indices: Sequence[Any] = split.indices.tolist()
    return list(in_threads(lambda index: _look(samples, index), indices, f"looking at {name}"))


class Placed(NamedTuple):
    """An image: its split, its class and what it is called."""

    split: str
    label: int
    name: str


def _range(values: Sequence[int]) -> dict[str, int]:
    return {"least": min(values), "median": int(median(values)), "most": max(values)}


def _sizes(looks: Sequence[Look], stored: tuple[int, int, int]) -> dict[str, Any]:
    sizes = [look.size for look in looks if look.size is not None and look.wrong is None]
    if not sizes:
        return {"stored": list(stored)}
    widths, heights = zip(*sizes, strict=True)
    common = Counter(sizes).most_common(COMMON)
    return {
        "stored": list(stored),
        "width": _range(widths),
        "height": _range(heights),
        "different": len(set(sizes)),
        "most_common": [[f"{width} x {height}", number] for (width, height), number in common],
        "below_stored": sum(width < stored[2] or height < stored[1] for width, height in sizes),
        "longest_side_ratio": round(max(max(size) / min(size) for size in sizes), 2),
    }


def _copies(looks: Mapping[str, Sequence[Look]], splits: Mapping[str, Split], root: str) -> dict[str, Any]:
    """Returns how many images are copies of another one, and which of these lie in two splits or classes."""
    by_digest: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, of_split in looks.items():
        for place, look in enumerate(of_split):
            if look.wrong is None:
                by_digest[look.digest].append((name, place))
    copied = [found for found in by_digest.values() if len(found) > 1]
    twice = [[_placed(splits, name, place, root) for name, place in found] for found in copied]
    return {
        "images": sum(len(found) - 1 for found in twice),
        "across_splits": [_names(found) for found in twice if len({each.split for each in found}) > 1],
        "under_two_labels": [_names(found) for found in twice if len({each.label for each in found}) > 1],
        "all": [_names(found) for found in twice],
    }


def _placed(splits: Mapping[str, Split], name: str, place: int, root: str) -> Placed:
    split = splits[name]
    called = split.samples.name_of(int(split.indices[place])).removeprefix(root)
    return Placed(name, int(codes_of(split.labels[place : place + 1])), called)


def _names(found: Sequence[Placed]) -> list[str]:
    return [f"{each.name} ({each.split})" for each in found]


def facts_of(data: ImageData, looks: Mapping[str, Sequence[Look]], notes: Sequence[str]) -> dict[str, Any]:
    """Returns as plain data what was found; `notes` are what the source said of itself."""
    splits, names = data.splits, list(data.class_names)
    counts = {name: counts_of(split.labels, len(names)).tolist() for name, split in splits.items()}
    totals = [sum(numbers) for numbers in zip(*counts.values(), strict=True)]
    root = getattr(data.source, "root", None)
    below = f"{as_text(root)}/" if root is not None else ""
    skipped = [
        [as_text(str(file)).removeprefix(below), _why(why, file)]
        for file, why in getattr(data.source, "skipped", ())
    ]
    wrong = [
        [_placed(splits, name, place, below).name, look.wrong]
        for name, of_split in looks.items()
        for place, look in enumerate(of_split)
        if look.wrong is not None
    ]
    own = [name for name in ("val", "test") if splits[name].samples is not splits["train"].samples]
    every = [look for of_split in looks.values() for look in of_split]
    smallest, largest = (choose(range(len(names)), key=totals.__getitem__) for choose in (min, max))
    return {
        "classes": names,
        "images": sum(len(split) for split in splits.values()),
        "counts": counts,
        "imbalance": {
            "largest": [names[largest], totals[largest]],
            "smallest": [names[smallest], totals[smallest]],
            "ratio": round(totals[largest] / max(totals[smallest], 1), 2),
        },
        "sizes": _sizes(every, splits["train"].samples.size),
        "modes": dict(Counter(look.mode for look in every if look.mode).most_common()),
        "formats": dict(Counter(look.kind for look in every if look.kind).most_common()),
        "unreadable": [*skipped, *wrong],
        "copies": _copies(looks, splits, below),
        "notes": list(notes),
        "split": {"seed": data.split_seed, **data.shares, "own_parts": own},
        "groups": _groups(splits),
        "weights": _weights(splits["train"]),
        "fingerprint": data.fingerprint,
        "splits": data.facts()["splits"],
    }


def _groups(splits: Mapping[str, Split]) -> dict[str, int]:
    """Returns how many groups each split has, where images are in groups."""
    return {
        name: len(split.samples.groups[split.indices].unique())
        for name, split in splits.items()
        if split.samples.groups is not None
    }


def _weights(train: Split) -> dict[str, float]:
    """Returns least and greatest weight of the training images, where these differ, and how many have 0."""
    own = train.samples.weights
    if train.weights is None or own is None:
        return {}
    weights = own[train.indices]
    return {"least": float(weights.min()), "most": float(weights.max()), "zero": int((weights == 0).sum())}


def some_of(
    splits: Mapping[str, Split], label: int, count: int, seed: int
) -> Iterator[tuple[str, UInt8[Tensor, "channels height width"]]]:
    """Yields at most `count` readable images of a class, each with its split: training's come first."""
    left = count
    for name, split in splits.items():
        own = split.indices[has(split.labels, label)]
        drawn = torch.randperm(len(own), generator=generator_at(seed, "contact sheet", name, label))
        for index in own[drawn].tolist():
            if not left:
                return
            try:
                pixels = split.samples.fetch(torch.tensor([index]))[0]
            except ValueError:
                continue
            left -= 1
            yield name, pixels
