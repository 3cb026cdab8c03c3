"""Copies of one file: on both sides of a split it was seen in training, under two classes one is wrong."""

from collections.abc import Iterator, Mapping
from itertools import combinations

import torch
from torch import Tensor

from vitlab.data.splits import Split
from vitlab.data.targets import codes_of


def _files(splits: Mapping[str, Split], kind: str = "files") -> dict[str, Tensor]:
    """Returns the files of each split (or its groups, where `kind` says so), where its images have such."""
    return {
        name: known[split.indices]
        for name, split in splits.items()
        if (known := getattr(split.samples, kind)) is not None
    }


def _shared(splits: Mapping[str, Split], kind: str) -> Iterator[tuple[str, str, int, tuple[int, int]]]:
    """Yields for each two splits that share files (or groups) how many images of the second these are, and
    the places of the first two of them."""
    known = _files(splits, kind)
    for seen, held_back in combinations(known, 2):  # train, val, test
        if number := int((again := torch.isin(known[held_back], known[seen])).sum()):
            second = int(again.nonzero()[0])
            first = int((known[seen] == known[held_back][second]).nonzero()[0])
            yield seen, held_back, number, (first, second)


def describe_copies(splits: Mapping[str, Split]) -> list[str]:
    """Returns a line each, or none, on how many images of a split are copies, or of groups, of another's."""
    lines = []
    for kind, words in (("files", "copies of {} images"), ("groups", "of groups that {} has images of")):
        found, example = [], ""
        for seen, held_back, number, places in _shared(splits, kind):
            total = len(splits[held_back])
            found.append(f"{number:,} of {total:,} {held_back} images are {words.format(seen)}")
            sides = zip((splits[seen], splits[held_back]), places, strict=True)
            first, second = (split.samples.name_of(int(split.indices[place])) for split, place in sides)
            example = example or f", such as {second} and {first}"
        if found:
            twice = " (the same file twice)" if kind == "files" else ""
            way = "keep one file of each" if kind == "files" else "keep each group in one part"
            lines.append(f"{', '.join(found)}{twice}{example}: the numbers will be too good; {way}")
    return lines


def describe_seen(splits: Mapping[str, Split], trained_on: Tensor) -> list[str]:
    """Returns a line, or none, on how many images held back the starting weights were trained on."""
    found = []
    for name, ids in _files(splits).items():
        if name != "train" and (number := int(torch.isin(ids, trained_on).sum())):
            found.append(f"{number:,} of {len(ids):,} {name} images")
    what = "the numbers will be too good; the run's own split would work"
    return [f"its run trained on {' and '.join(found)}: {what}"] if found else []


def under_two_labels(files: Tensor, labels: Tensor) -> list[tuple[int, int]]:
    """Returns for each file under more than one label the places of two copies with different labels."""
    labels = codes_of(labels)
    order = labels.argsort(stable=True)
    order = order[files[order].argsort(stable=True)]
    differ = (files[order][1:] == files[order][:-1]) & (labels[order][1:] != labels[order][:-1])
    pairs = {
        int(files[first]): (int(first), int(second))
        for first, second in zip(order[:-1][differ], order[1:][differ], strict=True)
    }
    return list(pairs.values())
