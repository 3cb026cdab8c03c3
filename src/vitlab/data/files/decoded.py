"""Files as samples: decoded one after the other into a store, or each time that they are fetched."""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from vitlab.data.files.crops import Cut, crops_of
from vitlab.data.files.decode import ALONE, Reading, SetFacts, read_image, read_with_facts
from vitlab.data.files.fit import Fit, Interpolation
from vitlab.data.files.places import Picture
from vitlab.data.samples import Samples
from vitlab.files.threads import in_threads
from vitlab.machine import num_cores
from vitlab.randomness import generator_at
from vitlab.shapes import Labels, Pixels

log = logging.getLogger(__name__)

SAID = 20
"""So many unreadable pictures are named one by one. After that only the 32nd, 64th, 128th ... is."""

TRIES = 100
"""So many other pictures are tried in the place of one that cannot be read."""


Made = Tensor | ValueError
"""Pixels, or why there are none."""

WAY_OUT = ", or leave such files out with data.on_bad_image=skip"


class Decoding(NamedTuple):
    """How files become pixels: their `size` (height, width) and `channels`, whether a bad file ends the work
    or is skipped, how pictures are resized and read, and how oblong ones are brought to that shape."""

    size: tuple[int, int]
    channels: int
    on_bad_image: Literal["error", "skip"]
    interpolation: Interpolation = "bicubic"
    reading: Reading = ALONE
    fit: Fit = "crop"

    def asked(self) -> tuple[tuple[int, int], int, Interpolation, Reading, Fit]:
        """Returns what `read_image` takes beside the file."""
        return self.size, self.channels, self.interpolation, self.reading, self.fit


def decoded(
    files: Sequence[Picture], decoding: Decoding, doing: str, start: int = 0
) -> Iterator[tuple[np.ndarray, SetFacts] | str]:
    """Yields for each file from the one at `start` its pixels and facts, or why it is skipped; `doing` is a
    word for the log. Raises ValueError for a bad file, unless they are skipped."""

    def decode(file: Picture) -> tuple[np.ndarray, SetFacts] | ValueError:
        try:
            return read_with_facts(file, *decoding.asked())
        except ValueError as error:
            return error

    for file, result in zip(files[start:], in_threads(decode, files, doing, start), strict=True):
        if isinstance(result, tuple):
            yield result
        elif decoding.on_bad_image == "skip":
            yield str(result).removeprefix(f"{file}: ")
        else:
            raise ValueError(f"{result}{WAY_OUT}") from result


def kept_labels(
    files: Sequence[Picture], labels: Sequence[int], skipped: Sequence[tuple[int, str]]
) -> np.ndarray:
    """Returns the labels of the files that were not skipped. Raises ValueError where none is left."""
    if len(skipped) == len(files):
        raise ValueError(f"none of {len(files):,} images can be used; the first, {files[0]}: {skipped[0][1]}")
    return np.delete(np.array(labels, dtype=np.int64), [index for index, _ in skipped])


class DecodedFiles(Samples):
    """Picture files that are decoded at each visit, by the data loader's workers or else by threads."""

    measured = 1_000
    """Mean and deviation of so many are off by about 0.005; to decode 10,000 photographs takes a minute."""

    def __init__(
        self,
        paths: Sequence[Picture],
        labels: Labels,
        decoding: Decoding,
        files: Tensor | None = None,
    ):
        super().__init__(labels, (decoding.channels, *decoding.size), files)
        self.paths: Sequence[Picture] = paths
        self.decoding = decoding
        self.unreadable = torch.zeros(len(labels), dtype=torch.bool).share_memory_()
        """Which pictures could not be read so far, in this process or a worker's."""
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_pool": None}  # threads do not travel to another process

    def _decode(self, index: int) -> Made:
        try:
            return torch.from_numpy(read_image(self.paths[index], *self.decoding.asked()))
        except ValueError as error:
            return error

    def _decoded(self, indices: Sequence[int], cut: Cut | None = None) -> list[Made]:
        run = map if get_worker_info() is not None else self._threads().map
        if cut is None:
            return list(run(self._decode, indices))
        paths, how = [self.paths[index] for index in indices], self.decoding
        return list(crops_of(paths, cut, how.channels, how.reading, run))

    def fetch(self, indices: Tensor) -> Pixels:
        """Returns these files' pixels. Raises ValueError for one that cannot be read."""
        return self._all_of(self._decoded(indices.tolist()))

    def _all_of(self, results: Sequence[Made]) -> Pixels:
        for error in results:
            if isinstance(error, ValueError):
                raise ValueError(f"{error}{WAY_OUT * (self.decoding.on_bad_image == 'error')}") from error
        return torch.stack(results).contiguous()  # type: ignore[arg-type]

    def fetch_of(
        self, indices: Tensor, positions: Tensor, number: int, cut: Cut | None = None
    ) -> tuple[Pixels, Tensor]:
        """Returns what every `Samples` does; with `cut`, as crops of the original pictures."""
        results, shown = self._decoded(indices[positions].tolist(), cut), positions.clone()
        if self.decoding.on_bad_image == "skip":
            for place, result in enumerate(results):
                if isinstance(result, ValueError):
                    self._tell(int(indices[positions[place]]), result)
                    own = cut and cut._replace(draws=cut.draws[place : place + 1])
                    results[place], shown[place] = self._another(indices, int(positions[place]), number, own)
        return self._all_of(results), shown

    def _another(self, indices: Tensor, position: int, number: int, cut: Cut | None) -> tuple[Tensor, int]:
        """Returns a readable picture of a split, and its position: the same one in whichever process asks."""
        draws, result = generator_at(0, "another picture", number, position), None
        for other in torch.randint(len(indices), (TRIES,), generator=draws).tolist():
            (result,) = self._decoded([int(indices[other])], cut)
            if not isinstance(result, ValueError):
                return result, other
            self._tell(int(indices[other]), result)
        raise ValueError(f"{result}; of {TRIES} others, chosen at random, none can be used either")

    def _tell(self, index: int, error: ValueError) -> None:
        """Says once that a picture cannot be read, and how many that makes."""
        if self.unreadable[index]:
            return
        self.unreadable[index] = True
        count = int(self.unreadable.sum())
        if count <= SAID or count & (count - 1) == 0:
            log.warning("%s; others take its place: %d such picture(s) so far", error, count)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():  # a fork has the object, but not its threads
            self._pool = os.getpid(), ThreadPoolExecutor(num_cores())
        return self._pool[1]
