"""Copies of one file: on both sides of a split what is tested has been seen in training, under two classes a
label is wrong."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from vitlab.data.splits import Split


def _files(splits: Mapping[str, Split]) -> dict[str, Tensor]:
    """Returns the files of each split, where its images come from files."""
    return {
        name: split.samples.files[split.indices]
        for name, split in splits.items()
        if split.samples.files is not None
    }


def describe_copies(splits: Mapping[str, Split]) -> list[str]:
    """Returns a line, or none, on how many images of a split are copies, byte for byte, of an image of
    another one."""
    files, found = _files(splits), []
    for seen, held_back in combinations(files, 2):  # train, val, test
        if number := int(torch.isin(files[held_back], files[seen]).sum()):
            found.append(
                f"{number:,} of {len(files[held_back]):,} {held_back} images are copies of {seen} images"
            )
    return (
        [f"{', '.join(found)} (the same file twice): the numbers will be too good; keep one file of each"]
        if found
        else []
    )


def describe_seen(splits: Mapping[str, Split], trained_on: Tensor) -> list[str]:
    """Returns a line, or none, on how many images of validation and test the weights that training starts
    from were trained on."""
    held_back = {name: ids for name, ids in _files(splits).items() if name != "train"}
    numbers = {name: int(torch.isin(ids, trained_on).sum()) for name, ids in held_back.items()}
    found = [
        f"{number:,} of {len(held_back[name]):,} {name} images" for name, number in numbers.items() if number
    ]
    return (
        [
            f"its run trained on {' and '.join(found)}: the numbers will be too good; the run's own split"
            " would work"
        ]
        if found
        else []
    )


def under_two_labels(files: Tensor, labels: Tensor) -> list[tuple[int, int]]:
    """Returns for each file that lies under more than one label the places of two of its copies with
    different labels."""
    order = labels.argsort(stable=True)
    order = order[files[order].argsort(stable=True)]
    differ = (files[order][1:] == files[order][:-1]) & (labels[order][1:] != labels[order][:-1])
    pairs = {
        int(files[first]): (int(first), int(second))
        for first, second in zip(order[:-1][differ], order[1:][differ], strict=True)
    }
    return list(pairs.values())
