"""Copies of one file on both sides of a split: what is tested has then been seen in training."""

from collections.abc import Mapping
from itertools import combinations

import torch

from vitlab.data.splits import Split


def describe_copies(splits: Mapping[str, Split]) -> list[str]:
    """Returns a line, or none, on how many images of a split are copies, byte for byte, of an image of another one."""
    files = {name: split.samples.files[split.indices] for name, split in splits.items() if split.samples.files is not None}
    found = []
    for seen, held_back in combinations(files, 2):  # train, val, test
        if number := int(torch.isin(files[held_back], files[seen]).sum()):
            found.append(f"{number:,} of {len(files[held_back]):,} {held_back} images are copies of {seen} images")
    return [f"{', '.join(found)} (the same file twice): the numbers will be too good; keep one file of each"] if found else []
