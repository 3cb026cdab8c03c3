"""Picture files that are never kept decoded: no pass over them comes before the first step."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import torch

from vitlab.data.files.decode import SetFacts
from vitlab.data.files.decoded import DecodedFiles, Decoding, decoded
from vitlab.data.files.places import Places
from vitlab.data.files.store import Stored, cache_root, numbers_of
from vitlab.data.fingerprint import FILES, LISTING

SAMPLE = 256
"""The range of 16-bit values is taken from at most so many pictures."""

MAY_BE_DEEP = (".npy", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff")
"""Ends of names of pictures that may have 16 bits, or a band that is transparency or something else."""


class Told(NamedTuple):
    """A number for each picture and a hash of all, made of the files' bytes or of names and sizes."""

    numbers: torch.Tensor
    content: str


def _told(places: Places, labels: Sequence[int], by_content: bool, cache_dir: str | None) -> Told:
    content = hashlib.blake2b(digest_size=16)
    if by_content:
        digests = places.digests(cache_root(cache_dir))
        content.update(b"".join(digests))
        numbers = numbers_of(digests, [])
    else:
        content.update(places.listing())
        numbers = torch.from_numpy(places.numbers())
    content.update(np.array(labels, dtype="<i8").tobytes())
    return Told(numbers, (FILES if by_content else LISTING) + content.hexdigest())


def _sampled(places: Places, decoding: Decoding) -> SetFacts:
    """Decodes a few pictures, evenly chosen of those whose values may have a range of their own."""
    deep = np.flatnonzero(places.names.end_with(MAY_BE_DEEP)[places.rows])
    facts, chosen = SetFacts(), deep[np.arange(count := min(len(deep), SAMPLE)) * len(deep) // max(count, 1)]
    for result in decoded(places.take(chosen), decoding._replace(on_bad_image="skip"), "looking at"):
        facts = facts if isinstance(result, str) else facts.joined(result[1])
    return facts


def open_files(files: Places, labels: Sequence[int], decoding: Decoding, cache_dir: str | None) -> Stored:
    """Returns the files, to be decoded each time that they are fetched: the same pixels as `open_store`
    keeps. None of them is looked at but a sample of those that may have 16 bits. Where all together are small
    enough to be hashed in a second, they are told apart by their bytes, else by names, sizes and times."""
    numbers, content = _told(files, labels, files.are_few, cache_dir)
    data = DecodedFiles(files, torch.tensor(labels, dtype=torch.int64), decoding, numbers)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Stored(data, content, [], _sampled(files, decoding), now)
