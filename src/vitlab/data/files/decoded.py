"""Files as samples: decoded one after the other into a store, or each time that they are fetched."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from vitlab.data.files.decode import ALONE, Interpolation, Reading, SetFacts, read_image, read_with_facts
from vitlab.data.samples import Samples
from vitlab.files.threads import in_threads
from vitlab.machine import num_cores
from vitlab.shapes import Labels, Pixels


class Decoding(NamedTuple):
    """How files become pixels: (height, width), 1 or 3 channels, whether a bad file ends the work, how they
    are resized and read."""

    size: tuple[int, int]
    channels: int
    on_bad_image: Literal["error", "skip"]
    interpolation: Interpolation = "bicubic"
    reading: Reading = ALONE


def decoded(
    files: Sequence[Path], decoding: Decoding, doing: str, start: int = 0
) -> Iterator[tuple[np.ndarray, SetFacts] | str]:
    """Yields for each file from the one at `start` its pixels and facts, or why it is skipped; `doing` is a
    word for the log.

    Raises ValueError for a bad file, unless they are skipped.
    """

    def decode(file: Path) -> tuple[np.ndarray, SetFacts] | ValueError:
        try:
            return read_with_facts(
                file, decoding.size, decoding.channels, decoding.interpolation, decoding.reading
            )
        except ValueError as error:
            return error

    for file, result in zip(files[start:], in_threads(decode, files, doing, start), strict=True):
        if isinstance(result, tuple):
            yield result
        elif decoding.on_bad_image == "skip":
            yield str(result).removeprefix(f"{file}: ")
        else:
            raise ValueError(f"{result}, or leave such files out with data.on_bad_image=skip") from result


def kept_labels(
    files: Sequence[Path], labels: Sequence[int], skipped: Sequence[tuple[int, str]]
) -> np.ndarray:
    """Returns the labels of the files that were not skipped. Raises ValueError where none is left."""
    if len(skipped) == len(files):
        raise ValueError(
            f"{files[0].parent}: none of {len(files)} images can be used; the first, {files[0].name}:"
            f" {skipped[0][1]}"
        )
    return np.delete(np.array(labels, dtype=np.int64), [index for index, _ in skipped])


class DecodedFiles(Samples):
    """Picture files that are decoded at each visit: by the data loader's workers, or without any by threads
    of this process."""

    def __init__(
        self, paths: Sequence[Path], labels: Labels, decoding: Decoding, files: Tensor | None = None
    ):
        super().__init__(labels, (decoding.channels, *decoding.size), files)
        self.paths = list(paths)
        self.decoding = decoding
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_pool": None}  # threads do not travel to another process

    def _decode(self, index: int) -> np.ndarray:
        how = self.decoding
        return read_image(self.paths[index], how.size, how.channels, how.interpolation, how.reading)

    def fetch(self, indices: Tensor) -> Pixels:
        """Returns these files' pixels. Raises ValueError for one that can no longer be read."""
        if get_worker_info() is not None:
            pixels = map(self._decode, indices.tolist())
        else:
            pixels = self._threads().map(self._decode, indices.tolist())
        return torch.from_numpy(np.stack(list(pixels)))

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():  # a fork has the object, but not its threads
            self._pool = os.getpid(), ThreadPoolExecutor(num_cores())
        return self._pool[1]
