"""A file of images that grows image by image, and goes on growing after whoever wrote it was killed."""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from vitlab.data.files.decode import SetFacts
from vitlab.data.fingerprint import ImageHash
from vitlab.files.atomic import replace_text

SAVED_SECONDS = 20.0
"""How far the file has come is written down after so long. A kill costs at most this much work."""

IMAGES, PROGRESS = "images.npy", "progress.json"


class GrowingImages:
    """Appends images to `folder`/images.npy, from behind those of an earlier process that was stopped there.
    `shape` is [files, channels, height, width]; `done` counts the files so far, `skipped` says which of them
    gave no image, and why; `facts` joins what each file tells of its set. Close it."""

    def __init__(self, folder: Path, shape: tuple[int, int, int, int]):
        self.folder = folder
        self.shape = shape
        self.content = ImageHash()
        self.done, self.skipped, self.facts = self._progress()
        self.file = (folder / IMAGES).open("r+b" if self.done else "w+b")
        self._write_header(shape[0])
        for _ in range(self.num_images):  # they are hashed again: a hash cannot be saved half-way
            self.content.update(np.frombuffer(self.file.read(math.prod(shape[1:])), np.uint8))
        self.file.truncate(self.file.tell())
        self.saved = time.monotonic()

    @property
    def num_images(self) -> int:
        return self.done - len(self.skipped)

    def _progress(self) -> tuple[int, list[tuple[int, str]], SetFacts]:
        """Returns `done`, `skipped` and `facts` as last written down, if the file has what they tell of."""
        try:
            progress = json.loads((self.folder / PROGRESS).read_text(encoding="utf-8"))
            done, skipped = progress["done"], [(index, reason) for index, reason in progress["skipped"]]
            if (self.folder / IMAGES).stat().st_size >= progress["bytes"]:
                return done, skipped, SetFacts(*progress["facts"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, [], SetFacts()

    def _write_header(self, count: int) -> None:
        """Leaves the file behind its header, whose length does not depend on the count, thanks to numpy."""
        self.file.seek(0)
        header: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (count, *self.shape[1:])}
        np.lib.format.write_array_header_1_0(self.file, header)

    def _save(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())  # else the note could be on the disk before what it tells of
        progress = {"done": self.done, "bytes": self.file.tell()}
        progress |= {"skipped": self.skipped, "facts": self.facts}
        replace_text(self.folder / PROGRESS, json.dumps(progress))

    def _count(self) -> None:
        self.done += 1
        if time.monotonic() - self.saved > SAVED_SECONDS:
            self._save()
            self.saved = time.monotonic()

    def add(self, pixels: np.ndarray, facts: SetFacts) -> None:
        """Appends the next file's image, and joins what the file tells of its set."""
        self.facts = self.facts.joined(facts)
        self.file.write(pixels.data)
        self.content.update(pixels)
        self._count()

    def skip(self, reason: str) -> None:
        """Notes that the next file gives no image."""
        self.skipped.append((self.done, reason))
        self._count()

    def finish(self, labels: np.ndarray) -> str:
        """Makes the file a whole one, and returns its hash with the labels of its images."""
        end = self.file.tell()
        self._write_header(self.num_images)
        assert end == self.file.tell() + self.num_images * math.prod(self.shape[1:])
        (self.folder / PROGRESS).unlink(missing_ok=True)
        return self.content.finish(labels, (self.num_images, *self.shape[1:]))

    def close(self) -> None:
        self.file.close()
