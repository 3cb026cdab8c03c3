"""Where pictures lie: a million of them in a few arrays, so that no process holds an object for each."""

import hashlib
import io
import os
from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from vitlab.data.files.names import CHUNK, Names
from vitlab.files.digests import digests_of
from vitlab.files.threads import in_threads

HASHED_BYTES = 1 << 30
"""Pictures of more bytes than this together are told apart by name, size and time: hashing takes minutes."""

HASHED_PICTURES = 100_000
"""The same holds for more pictures than this, however small: to open a million takes a minute."""


class Inside(NamedTuple):
    """A picture that is part of another file: `size` bytes of `holder` from `start` on."""

    holder: Path
    name: str
    start: int
    size: int

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Returns the picture's bytes as an opened file. Raises ValueError where the holder has fewer."""
        with self.holder.open("rb") as file:
            file.seek(self.start)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ValueError(f"{self.holder} ends within it")
        return io.BytesIO(content)

    @property
    def suffix(self) -> str:
        """What its name ends with, such as `.jpg`."""
        return os.path.splitext(self.name)[1]

    def __str__(self) -> str:
        return f"{self.holder}/{self.name}"


class Held(NamedTuple):
    """A picture whose bytes are in memory, and the name that it goes by."""

    name: str
    content: bytes

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Returns the picture's bytes as an opened file."""
        return io.BytesIO(self.content)

    @property
    def suffix(self) -> str:
        """What its name ends with, such as `.jpg`."""
        return os.path.splitext(self.name)[1]

    def __str__(self) -> str:
        return self.name


Picture = Path | Inside | Held
"""Where one picture lies."""


def readable(picture: Picture) -> Path | io.BytesIO:
    """Returns what Pillow opens."""
    return picture if isinstance(picture, Path) else picture.open()


class Places(Sequence[Picture]):
    """Pictures in an order: the `rows` of what is known of them."""

    def __init__(self, names: Names, sizes: np.ndarray, times: np.ndarray):
        self.names = names
        """What each picture is called within its data set."""
        self.sizes = sizes
        """Bytes of each one."""
        self.times = times
        """When each one was written last, in seconds."""
        self.rows = np.arange(len(names))

    def __len__(self) -> int:
        return len(self.rows)

    @abstractmethod
    def picture(self, row: int) -> Picture:
        """Returns where the picture of that row lies."""

    def chosen(self, rows: np.ndarray) -> "Places":
        """Returns these rows alone."""
        chosen = copy(self)
        chosen.rows = rows
        return chosen

    def take(self, places: np.ndarray) -> "Places":
        """Returns the pictures at these places, in this order."""
        return self.chosen(self.rows[places])

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> "Places": ...
    def __getitem__(self, index: int | slice) -> "Picture | Places":
        if isinstance(index, slice):
            return self.chosen(self.rows[index])
        return self.picture(int(self.rows[index]))

    def name(self, index: int) -> str:
        """Returns what the picture at that place is called within its data set."""
        return self.names[int(self.rows[index])]

    @property
    def num_bytes(self) -> int:
        return int(self.sizes[self.rows].sum())

    @property
    def are_few(self) -> bool:
        """Whether all of them are hashed in seconds."""
        return self.num_bytes <= HASHED_BYTES and len(self) <= HASHED_PICTURES

    def digests(self, root: Path) -> list[bytes]:
        """Returns a hash of each picture's bytes, empty for one that cannot be read; of very many a hash of
        what is known of them. `root` is the folder where hashes may be remembered."""
        if self.are_few:
            return list(in_threads(_digest, self, "hashing"))
        now = self.listing()  # who writes to a file changes its time, and so that of all inside
        return [now + number.tobytes() for number in self.numbers()]

    def numbers(self) -> np.ndarray:
        """Returns a number for each picture that follows from its name and size, without reading it."""
        sizes, known = self.sizes[self.rows].astype("<i8"), bytearray()
        for name, size in zip(self.names.encoded(self.rows), sizes, strict=True):
            known += hashlib.blake2b(name + size.tobytes(), digest_size=8).digest()
        return np.frombuffer(known, np.int64)

    def listing(self) -> bytes:
        """Returns a hash of all names, sizes and times, in their order."""
        content = hashlib.blake2b(digest_size=16)
        for some in np.array_split(self.rows, len(self.rows) // CHUNK + 1):
            content.update(b"\0".join(self.names.encoded(some)) + b"\0")
        for facts in (self.sizes, self.times):
            content.update(facts[self.rows].astype("<i8").tobytes())
        return content.digest()


def _digest(picture: Picture) -> bytes:
    try:
        with picture.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").digest()  # type: ignore[arg-type]
    except (OSError, ValueError):
        return b""


class FilePlaces(Places):
    """Picture files below one folder, by their path from there; absolute paths lead where they say."""

    def __init__(self, folder: Path, names: Names, sizes: np.ndarray, times: np.ndarray):
        super().__init__(names, sizes, times)
        self.folder = folder

    def picture(self, row: int) -> Path:
        return self.folder / self.names[row]

    def digests(self, root: Path) -> list[bytes]:
        return digests_of(self, root)  # type: ignore[arg-type]  # each of them is a Path


class InsidePlaces(Places):
    """Pictures inside a few large files: each one's `holder` by its number, and where it starts there."""

    def __init__(
        self,
        files: Sequence[Path],
        holders: np.ndarray,
        starts: np.ndarray,
        names: Names,
        sizes: np.ndarray,
        times: np.ndarray,
    ):
        super().__init__(names, sizes, times)
        self.files = list(files)
        self.holders = holders
        self.starts = starts

    def picture(self, row: int) -> Inside:
        holder = self.files[int(self.holders[row])]
        return Inside(holder, self.names[row], int(self.starts[row]), int(self.sizes[row]))
