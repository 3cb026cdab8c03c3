"""A run's split, kept in its checkpoints by the files' content: which images of a folder that may have
changed the run held back."""

import base64
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vitlab.data.fingerprint import hashed_what
from vitlab.data.samples import Samples
from vitlab.data.splits import Split
from vitlab.data.targets import codes_of

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")

KEPT = 200_000
"""Images whose split is kept: of so many it makes a checkpoint 5 MB larger."""


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


def is_as_known(name: str, split: Split, known: KnownSplit) -> bool:
    """Tells whether a split of the run's data has the images that it had in the run: another vitlab may have
    cut it otherwise."""
    files = split.samples.files
    return files is None or not known.files or torch.equal(files[split.indices], known.files[name])


def _as_often(files: Tensor, known: Tensor) -> Tensor:
    """Returns which of the files are among the known ones: of copies as many as are known, the first ones."""
    order = files.argsort(stable=True)
    ordered, known = files[order], known.sort().values
    number_of_copy = torch.arange(len(files)) - torch.searchsorted(ordered, ordered)
    copies = torch.searchsorted(known, ordered, right=True) - torch.searchsorted(known, ordered)
    among = torch.empty(len(files), dtype=torch.bool)
    among[order] = number_of_copy < copies
    return among


def _relabelled(samples: Samples, chosen: Tensor, known: KnownSplit) -> int:
    """Returns how many of the chosen images lay under another class in the run."""
    assert samples.files is not None
    files, labels = (torch.cat(list(each.values())) for each in (known.files, known.labels))
    order = files.argsort(stable=True)
    place = torch.searchsorted(files[order], samples.files[chosen]).clamp(max=len(files) - 1)
    is_known = files[order][place] == samples.files[chosen]
    return int((is_known & (labels[order][place] != codes_of(samples.labels[chosen]))).sum())


def find_again(name: str, parts: Mapping[str, Samples], known: KnownSplit, now: str | None = None) -> Split:
    """Returns of data that is not quite the run's the split `name` as the run had it, and logs what is new,
    missing or left out.

    Of the data's own part of that name, and of a folder with no image that the run had there, these are all
    but those that the run had in its other splits. Raises ValueError where no image is left, or nothing tells
    which ones the run trained on.
    """
    own = name in parts
    samples = parts[name] if own else parts.get("all") or parts["train"]
    comparable = hashed_what(known.fingerprint) == hashed_what(now or known.fingerprint)
    if samples.files is None or not known.files or not comparable:
        if not own:
            raise ValueError(
                "the images are not the run's, and which of them it trained on cannot be told; the run's own"
                " would work"
            )
        log.warning(
            "the data is not what the run saw; %s: all %s images as they are now",
            name,
            f"{len(samples.labels):,}",
        )
        return Split(samples, torch.arange(len(samples.labels)))
    held = _as_often(samples.files, known.files[name])
    elsewhere = (
        torch.isin(samples.files, torch.cat([files for split, files in known.files.items() if split != name]))
        & ~held
    )
    new, missing = int((~held & ~elsewhere).sum()), len(known.files[name]) - int(held.sum())
    again = bool(held.any()) and not own
    chosen = (held if again else ~elsewhere).nonzero().flatten()
    others, used = " and ".join(split for split in SPLITS if split != name), int(elsewhere.sum())
    if not len(chosen):
        raise ValueError(
            f"no image is left as {name}: here are only {used:,} that the run had in {others}; other images"
            " would work"
        )
    told = {f"missing: {missing:,}": (again or own) and missing}
    if again:
        first = f"the {len(chosen):,} images that the run {'trained on' if name == 'train' else 'held back'}"
        told |= {f"new and left out: {new:,}": new}
    else:
        first = (
            f"all {len(chosen):,} images of the data's own part"
            if own
            else f"all {len(chosen):,} images, none of them the run's"
        )
        told |= {
            f"new since then: {new:,}": own and new,
            f"left out, as the run had them in {others}: {used:,}": used,
        }
    if moved := _relabelled(samples, chosen, known):
        told |= {f"under another class than in the run: {moved:,}": True}
    log.warning(
        "the data, or how it is split, is not what the run saw; %s: %s",
        name,
        "; ".join([first, *(line for line, holds in told.items() if holds)]),
    )
    return Split(samples, chosen)
