"""Decoded images in a memory-mapped file, named by what went in: decoded once, shared, never half written."""

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch

from vitlab.data.files.decode import SetFacts
from vitlab.data.files.decoded import Decoding, decoded, kept_labels
from vitlab.data.files.growing import GrowingImages
from vitlab.data.files.places import Picture, Places
from vitlab.data.fingerprint import hash_images
from vitlab.data.samples import HeldImages, Samples
from vitlab.files.atomic import replace_text
from vitlab.files.digests import digests_of, file_facts
from vitlab.files.home import expanded
from vitlab.files.lock import only_one
from vitlab.files.whole_folder import whole_folder

log = logging.getLogger(__name__)

FORMAT_VERSION = 3


class Stored(NamedTuple):
    """What a store holds: images (read-only: writing to them ends the process), (index, reason) of each file
    left out, and what the files tell of their set. `content` is the images' hash, as it was computed at the
    time `hashed`, in ISO 8601; the files have not been written to since."""

    data: Samples
    content: str
    skipped: list[tuple[int, str]]
    facts: SetFacts
    hashed: str


def cache_root(cache_dir: str | None) -> Path:
    """Returns the folder that holds the stores: `cache_dir`, or the user's own cache folder if it is None.
    Raises ValueError for a user without a home."""
    if cache_dir:
        return expanded("data.cache_dir", cache_dir)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vitlab").expanduser()
    except RuntimeError:
        raise ValueError(
            "data.cache_dir: this user has no home folder to keep decoded images in; data.cache_dir=DIR would"
            " work"
        ) from None


def store_key(digests: Sequence[bytes], labels: Sequence[int], decoding: Decoding) -> str:
    """Returns the name of a store: a hash of the files' hashes, order and labels, and of the decoding."""
    made_by = (FORMAT_VERSION, PIL.__version__, str(torch.__version__), decoding)
    key = hashlib.blake2b(repr(made_by).encode(), digest_size=16)
    for digest, label in zip(digests, labels, strict=True):
        key.update(repr((digest, label)).encode())
    return key.hexdigest()


def _check_room(root: Path, shape: tuple[int, ...], part: Path) -> None:
    """Raises ValueError where images of this shape do not fit on the disk, beside those there already."""
    needed, there = math.prod(shape), sum(file.stat().st_size for file in part.glob("images.npy"))
    free = shutil.disk_usage(root).free
    if needed - there > free:
        raise ValueError(
            f"data.cache_dir={root}: {shape[0]:,} images of {shape[2]} x {shape[3]} px take"
            f" {needed / 1e9:,.1f} GB there, and {free / 1e9:,.1f} GB are free; name a folder with more room,"
            " or a smaller data.stored_size"
        )


def _write(
    folder: Path, files: Sequence[Picture], labels: Sequence[int], decoding: Decoding, goes_on: bool
) -> None:
    """Decodes the files into the store `folder`; `goes_on`: from where an earlier process was stopped."""
    shape = (len(files), decoding.channels, *decoding.size)

    with whole_folder(folder, goes_on) as part:
        _check_room(folder.parent, shape, part)
        with contextlib.closing(GrowingImages(part, shape)) as images:
            if images.done:
                log.info("decoding goes on at %d of %d images", images.done, len(files))
            for result in decoded(files, decoding, "decoding", images.done):
                if isinstance(result, str):
                    images.skip(result)
                else:
                    images.add(*result)
            skipped, of_set = images.skipped, images.facts
            kept = kept_labels(files, labels, skipped)
            content = images.finish(kept)
        np.save(part / "labels.npy", kept)
        facts = {"shape": (len(kept), *shape[1:]), "content": content, "skipped": skipped, "facts": of_set}
        facts |= {"decoding": decoding._asdict()}
        _note(part, {"format": FORMAT_VERSION} | facts)


def _note(folder: Path, facts: dict[str, Any]) -> None:
    """Writes down what a store holds, whose content has just been hashed."""
    now = {"hashed": datetime.now(UTC).isoformat(timespec="seconds"), "files": _files(folder)}
    replace_text(folder / "meta.json", json.dumps(facts | now, indent=1))


def _files(folder: Path) -> list[list[int]]:
    """Returns what shows whether a store was written to: to hash it at each start would take too long."""
    return [list(file_facts(folder / name)) for name in ("images.npy", "labels.npy")]


def read_store(folder: Path) -> Stored | None:
    """Opens the store `folder`; a damaged one is removed."""
    if not os.path.isdir(folder):
        return None
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        images, labels = np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy")
        if list(images.shape) != meta["shape"] or len(labels) != len(images):
            raise ValueError(
                f"{images.shape} images, {len(labels)} labels where {meta['shape']} were written"
            )
        if meta["files"] != _files(folder):
            if hash_images(images, labels) != meta["content"]:
                raise ValueError("its images or labels are not those that were written")
            # copied as a whole, it may be another user's; then it is hashed each time
            with contextlib.suppress(OSError):
                _note(folder, meta)
        # Through DLPack torch takes a read-only array without a warning (from_numpy warns).
        data = HeldImages(torch.from_dlpack(images), torch.from_numpy(labels))
        skipped = [(index, reason) for index, reason in meta["skipped"]]
        return Stored(data, meta["content"], skipped, SetFacts(*meta["facts"]), meta["hashed"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: damaged store (%s); decoding again", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def numbers_of(digests: Sequence[bytes], skipped: Sequence[tuple[int, str]]) -> torch.Tensor:
    """Returns `Samples.files` of the files that were not skipped."""
    starts = np.frombuffer(b"".join(digest[:8] or bytes(8) for digest in digests), np.int64)
    return torch.from_numpy(np.delete(starts, [index for index, _ in skipped]))


@contextlib.contextmanager
def writing_below(root: Path) -> Iterator[None]:
    """Raises ValueError where the folder of the stores cannot be written."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"data.cache_dir={root}: cannot be written ({error.strerror or error}); name a writable folder"
            " with room"
        ) from error


def open_store(
    files: Sequence[Picture], labels: Sequence[int], decoding: Decoding, cache_dir: str | None
) -> Stored:
    """Returns the decoded files, from the store under `cache_dir` if these bytes were decoded this way
    before. Raises ValueError for a bad file (unless they are skipped) and for a folder that cannot be
    written."""
    root = cache_root(cache_dir)
    digests = files.digests(root) if isinstance(files, Places) else digests_of(files, root)  # type: ignore
    folder = root / store_key(digests, labels, decoding)
    stored = read_store(folder)
    if stored is None:
        with writing_below(root), only_one(folder) as is_alone:
            if not is_alone or read_store(folder) is None:  # another process may have written it meanwhile
                _write(folder, files, labels, decoding, goes_on=is_alone)
        stored = read_store(folder)
    if stored is None:
        raise ValueError(
            f"data.cache_dir={root}: {folder.name} in it is damaged and cannot be replaced; remove it"
        )
    stored.data.files = numbers_of(digests, stored.skipped)
    return stored
