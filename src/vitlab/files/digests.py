"""Hashes of files' bytes; of a large set they are remembered, and a start need not read all."""

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vitlab.files.atomic import replaced
from vitlab.files.threads import in_threads

REMEMBERED_BYTES = 1 << 30
"""Size of a set from which on its hashes are remembered; a smaller one is read in about a second."""

SETTLED_NS = 2_000_000_000
"""A file that changed so shortly before it was hashed may have changed within the clock's tick."""

DIGEST_SIZE = 64

Facts = tuple[int, int, int, int]


class _Memory(NamedTuple):
    """Hash and facts of each file, and when they were looked at."""

    known: dict[str, tuple[Facts, bytes]]
    looked_ns: int


def file_facts(file: Path) -> Facts:
    """Returns size, both times and the inode: a write changes one of them, whoever sets the times."""
    try:
        found = os.stat(file)
    except OSError:
        return (-1, 0, 0, 0)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & (2**63 - 1)


def _digest(file: Path) -> bytes:
    """Returns the hash of a file's bytes, or nothing if it cannot be read (decoding then says why)."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").digest()
    except OSError:
        return b""


def _recall(memory: Path) -> _Memory:
    """Returns what is remembered: nothing, where it cannot be read."""
    try:
        with memory.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            names = os.fsdecode(kept["names"].tobytes()).split("\0")
            facts = [tuple(row) for row in kept["facts"].tolist()]
            digests = [row.tobytes() for row in kept["digests"]]
            return _Memory(
                dict(zip(names, zip(facts, digests, strict=True), strict=True)), int(kept["looked_ns"])
            )
    except Exception:  # a damaged archive makes numpy and zipfile raise almost anything
        return _Memory({}, 0)


def _remember(
    memory: Path, names: Sequence[str], facts: Sequence[Facts], digests: Sequence[bytes], looked_ns: int
) -> None:
    kept = [index for index, digest in enumerate(digests) if len(digest) == DIGEST_SIZE]
    with contextlib.suppress(OSError):  # then all is read again the next time
        memory.parent.mkdir(parents=True, exist_ok=True)
        with replaced(memory) as part, part.open("wb") as file:
            np.savez(
                file,
                names=np.frombuffer(os.fsencode("\0".join(names[index] for index in kept)), np.uint8),
                facts=np.array([facts[index] for index in kept], np.int64).reshape(-1, 4),
                digests=np.frombuffer(b"".join(digests[index] for index in kept), np.uint8).reshape(
                    -1, DIGEST_SIZE
                ),
                looked_ns=looked_ns,
            )


def digests_of(files: Sequence[Path], root: Path) -> list[bytes]:
    """Returns a hash of each file's bytes, empty for one that cannot be read. Of sets above a gigabyte they
    are kept under `root` and taken from there for files whose size, times and inode are still the same."""
    looked_ns, facts = time.time_ns(), [file_facts(file) for file in files]
    if sum(size for size, *_ in facts) < REMEMBERED_BYTES:
        return list(in_threads(_digest, files, "hashing"))
    folder = os.path.commonpath([file.absolute() for file in files])
    names = [os.path.relpath(file, folder) for file in files]
    memory = root / "digests" / f"{hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()}.npz"
    known, before_ns = _recall(memory)

    digests: list[bytes] = []
    for name, found in zip(names, facts, strict=True):
        then, digest = known.get(name, (None, b""))
        settled = max(found[1], found[2]) < before_ns - SETTLED_NS
        digests.append(digest if settled and then == found else b"")
    changed = [index for index, digest in enumerate(digests) if not digest]
    for index, digest in zip(
        changed, in_threads(_digest, [files[index] for index in changed], "hashing"), strict=True
    ):
        digests[index] = digest
    if changed:
        _remember(memory, names, facts, digests, looked_ns)
    return digests
