"""Many texts in one buffer, so that a million names of files are two arrays and not a million objects."""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

CHUNK = 1 << 16
"""Texts that are taken out of a buffer at a time."""


class Names(Sequence[str]):
    """Texts in one buffer: `ends` tells where each one ends."""

    def __init__(self, content: np.ndarray, ends: np.ndarray):
        self.content = content
        self.ends = ends

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Packs texts one after the other."""
        content, ends, encode = bytearray(), array("q"), os.fsencode
        for name in names:
            content += encode(name)
            ends.append(len(content))
        return cls(np.frombuffer(bytes(content), np.uint8), np.frombuffer(ends.tobytes(), np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def are(self, others: "Names") -> bool:
        """Tells whether both hold the same texts in the same order."""
        same_ends = np.array_equal(self.ends, others.ends)
        return same_ends and np.array_equal(self.content, others.content)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        start = int(self.ends[index - 1]) if index else 0
        return os.fsdecode(self.content[start : int(self.ends[index])].tobytes())

    def __iter__(self) -> Iterator[str]:
        yield from map(os.fsdecode, self.encoded(np.arange(len(self))))

    def encoded(self, rows: np.ndarray) -> Iterator[bytes]:
        """Yields the bytes of these texts."""
        for some in np.array_split(rows, len(rows) // CHUNK + 1):
            ends, starts = self.ends[some].tolist(), np.where(some > 0, self.ends[some - 1], 0).tolist()
            content = self.content.data
            for start, end in zip(starts, ends, strict=True):
                yield bytes(content[start:end])

    def end_with(self, suffixes: Iterable[str]) -> np.ndarray:
        """Tells for each text whether it ends with one of these, in lower or upper case; they are ASCII."""
        starts = np.concatenate([[0], self.ends[:-1]])
        found = np.zeros(len(self), bool)
        for suffix in suffixes:
            is_it = self.ends - starts >= len(suffix)
            for place, letter in enumerate(reversed(suffix), start=1):
                at = self.content[np.maximum(self.ends - place, 0)]
                is_it &= (at == ord(letter)) | (at == ord(letter.upper()))
            found |= is_it
        return found
