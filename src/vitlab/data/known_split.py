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
    return {
        "fingerprint": fingerprint,
        "files": {
            name: base64.b64encode(ids.astype("<i8").tobytes()).decode() for name, ids in files.items()
        },
        "labels": {
            name: base64.b64encode(of_split.astype("<i4").tobytes()).decode()
            for name, of_split in labels.items()
        },
    }


def known_split(kept: Any) -> KnownSplit:
    """Returns what `keep_split` put into a checkpoint. Raises ValueError where it is anything else."""
    try:
        fingerprint, files, labels = kept["fingerprint"], kept["files"], kept["labels"]
        if (
            not isinstance(fingerprint, str)
            or set(files) not in (set(), set(SPLITS))
            or set(labels) != set(files)
        ):
            raise ValueError("other splits than train, val and test")
        decoded = {
            name: np.frombuffer(base64.b64decode(text, validate=True), "<i8") for name, text in files.items()
        }
        classes = {
            name: np.frombuffer(base64.b64decode(text, validate=True), "<i4") for name, text in labels.items()
        }
        if any(len(classes[name]) != len(ids) for name, ids in decoded.items()):
            raise ValueError("not a label for each file")
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"the checkpoint's data is not what `vitlab train` writes ({error}); another copy would work"
        ) from None
    ids, of_ids = (
        {name: torch.from_numpy(values.astype(np.int64)) for name, values in each.items()}
        for each in (decoded, classes)
    )
    return KnownSplit(fingerprint, ids, of_ids)
