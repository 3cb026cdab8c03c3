"""Decoded images in a memory-mapped file, named by what went in: decoded once, shared by all processes, never half written."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import PIL
import torch

from vitlab.data.files.decode import Interpolation, read_image
from vitlab.data.files.fingerprint import hash_images
from vitlab.data.files.whole_folder import whole_folder
from vitlab.data.source import LabelledImages

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
PROGRESS_SECONDS = 5.0
CHUNK = 256  # files given to the threads at a time: bounds how far decoding runs ahead of writing


class Decoding(NamedTuple):
    """How files become pixels: (height, width), 1 or 3 channels, whether a bad file ends the work, and how pixels are resized."""

    size: tuple[int, int]
    channels: int
    on_bad_image: Literal["error", "skip"]
    interpolation: Interpolation = "bicubic"


class Stored(NamedTuple):
    """What a store holds: images (read-only: writing to them ends the process), their hash, and (index, reason) of each file left out."""

    data: LabelledImages
    content: str
    skipped: list[tuple[int, str]]


def cache_root(cache_dir: str | None) -> Path:
    """Returns the folder that holds the stores: `cache_dir`, or the user's own cache folder if it is None."""
    return Path(cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vitlab")).expanduser()


def _in_threads(work: Callable[[Path], Any], files: Sequence[Path], doing: str) -> Iterator[Any]:
    """Yields the result for each file in order, and logs a line every few seconds."""
    reported = time.monotonic()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), CHUNK):
            for number, result in enumerate(pool.map(work, files[start : start + CHUNK]), start + 1):
                yield result
                if time.monotonic() - reported > PROGRESS_SECONDS:
                    reported = time.monotonic()
                    log.info("%s images: %d of %d (%d %%)", doing, number, len(files), 100 * number // len(files))


def _digest(file: Path) -> bytes:
    """Returns the hash of a file's bytes, or nothing if it cannot be read (decoding then says why)."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").digest()
    except OSError:
        return b""


def store_key(files: Sequence[Path], labels: Sequence[int], decoding: Decoding) -> str:
    """Returns the name of a store: a hash of the files' bytes, their order and labels, and all that decides what they decode to."""
    key = hashlib.blake2b(repr((FORMAT_VERSION, PIL.__version__, decoding)).encode(), digest_size=16)
    for digest, label in zip(_in_threads(_digest, files, "hashing"), labels, strict=True):
        key.update(repr((digest, label)).encode())
    return key.hexdigest()


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _write(folder: Path, files: Sequence[Path], labels: Sequence[int], decoding: Decoding) -> None:
    """Decodes the files into the store `folder`."""

    def decode(file: Path) -> np.ndarray | ValueError:
        try:
            return read_image(file, decoding.size, decoding.channels, decoding.interpolation)
        except ValueError as error:
            return error

    kept: list[int] = []
    skipped: list[tuple[int, str]] = []
    with whole_folder(folder) as part:
        with (part / "images.npy").open("wb") as images:
            _write_header(images, (len(files), decoding.channels, *decoding.size))
            header_end = images.tell()
            for index, result in enumerate(_in_threads(decode, files, "decoding")):
                if isinstance(result, np.ndarray):
                    images.write(result.tobytes())
                    kept.append(labels[index])
                elif decoding.on_bad_image == "skip":
                    skipped.append((index, str(result).removeprefix(f"{files[index]}: ")))
                else:
                    raise ValueError(f"{result}, or leave such files out with data.on_bad_image=skip") from result
            if not kept:
                raise ValueError(f"{files[0].parent}: none of {len(files)} images can be used; the first, {files[0].name}: {skipped[0][1]}")
            images.seek(0)
            shape = (len(kept), decoding.channels, *decoding.size)
            _write_header(images, shape)
            assert images.tell() == header_end, "numpy pads headers so that the count may change"
        np.save(part / "labels.npy", np.array(kept, dtype=np.int64))
        content = hash_images(np.load(part / "images.npy", mmap_mode="r"), np.array(kept))
        meta = {"format": FORMAT_VERSION, "shape": shape, "content": content, "skipped": skipped, "decoding": decoding._asdict()}
        (part / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _read(folder: Path) -> Stored | None:
    """Opens the store `folder`; a damaged one is removed."""
    if not os.path.isdir(folder):
        return None
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        images, labels = np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")
        if list(images.shape) != meta["shape"] or len(labels) != len(images):
            raise ValueError(f"{images.shape} images and {len(labels)} labels where {meta['shape']} were written")
        # Through DLPack torch takes a read-only array without a warning (from_numpy warns).
        data = LabelledImages(torch.from_dlpack(images), torch.from_numpy(labels))
        return Stored(data, meta["content"], [(index, reason) for index, reason in meta["skipped"]])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: damaged store (%s); decoding again", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def open_store(files: Sequence[Path], labels: Sequence[int], decoding: Decoding, cache_dir: str | None) -> Stored:
    """Returns the decoded files, from the store under `cache_dir` if these bytes were decoded this way before.

    Raises ValueError for a bad file (unless they are skipped) and for a folder that cannot be written.
    """
    root = cache_root(cache_dir)
    folder = root / store_key(files, labels, decoding)
    stored = _read(folder)
    if stored is None:
        try:
            _write(folder, files, labels, decoding)
        except OSError as error:
            raise ValueError(f"data.cache_dir={root}: cannot be written ({error.strerror}); name a writable folder with room") from error
        stored = _read(folder)
    if stored is None:
        raise ValueError(f"data.cache_dir={root}: {folder.name} in it is damaged and cannot be replaced; remove it")
    return stored
