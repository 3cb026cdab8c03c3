"""A run's split as plain data in its checkpoints: the files of train, val and test, told by their content."""

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vitlab.data.splits import Split
from vitlab.data.targets import codes_of

SPLITS = ("train", "val", "test")

FILES, CODES = "<i8", "<i4"
"""How numbers of files and of labels are written."""

KEPT = 200_000
"""Splits of more images than this are not kept in checkpoints: so many make a checkpoint 5 MB larger."""


class KnownSplit(NamedTuple):
    """The hash of a run's data and, where its images came from files, the files of each split as `Samples`
    names them, and their labels (of several, a number for each combination)."""

    fingerprint: str
    files: dict[str, Tensor]
    labels: dict[str, Tensor]


def keep_split(fingerprint: str, splits: Mapping[str, Split]) -> dict[str, Any]:
    """Returns plain data for a checkpoint, some 16 letters an image; of more than `KEPT` the hash alone."""
    if sum(map(len, splits.values())) > KEPT:
        return {"fingerprint": fingerprint, "files": {}, "labels": {}}
    files = {
        name: split.samples.files[split.indices].numpy()
        for name, split in splits.items()
        if split.samples.files is not None
    }
    labels = {name: codes_of(splits[name].labels).numpy() for name in files}
    return {"fingerprint": fingerprint, "files": _packed(files, FILES), "labels": _packed(labels, CODES)}


def _packed(numbers: Mapping[str, np.ndarray], kind: str) -> dict[str, str]:
    return {name: base64.b64encode(each.astype(kind).tobytes()).decode() for name, each in numbers.items()}


def _unpacked(texts: Mapping[str, str], kind: str) -> dict[str, Tensor]:
    content = {name: base64.b64decode(text, validate=True) for name, text in texts.items()}
    return {
        name: torch.from_numpy(np.frombuffer(each, kind).astype(np.int64)) for name, each in content.items()
    }


def known_split(kept: Any) -> KnownSplit:
    """Returns what `keep_split` put into a checkpoint. Raises ValueError where it is anything else."""
    try:
        fingerprint, files, labels = kept["fingerprint"], kept["files"], kept["labels"]
        are_splits = set(files) in (set(), set(SPLITS)) and set(labels) == set(files)
        if not isinstance(fingerprint, str) or not are_splits:
            raise ValueError("other splits than train, val and test")
        split = KnownSplit(fingerprint, _unpacked(files, FILES), _unpacked(labels, CODES))
        if any(len(split.labels[name]) != len(ids) for name, ids in split.files.items()):
            raise ValueError("not a label for each file")
        return split
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"the checkpoint's data is not what `vitlab train` writes ({error}); another copy would work"
        ) from None
