"""What lies where in tar files of samples: read once and kept in an index, any sample a seek away."""

import contextlib
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vitlab.data.files.find import IMAGE_SUFFIXES, as_text
from vitlab.data.files.names import Names
from vitlab.data.files.places import InsidePlaces
from vitlab.files.atomic import replaced
from vitlab.files.digests import file_facts
from vitlab.files.threads import in_threads

FORMAT = 1

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""What compressed files begin with."""

LABEL_SUFFIXES = ("cls", "json", "txt")
"""The suffixes of label files. Of several beside one picture the first in this order counts."""


class LabelOf(NamedTuple):
    """Where a label stands: its file's suffix (None: the first of `LABEL_SUFFIXES`), and the key in JSON."""

    suffix: str | None
    key: str


class Sample(NamedTuple):
    """A picture in a tar: its name, its label, and its bytes' place."""

    name: str
    label: str
    start: int
    size: int


class Samples(NamedTuple):
    """The pictures of several tars, and the label of each one."""

    places: InsidePlaces
    labels: Names


def _members(shard: Path) -> Iterator[tuple[str, int, int]]:
    """Yields name, start and size of a tar's files. Raises ValueError for links and what is no whole tar."""
    with shard.open("rb") as file:
        start = file.read(6)
    if by := next((name for magic, name in MAGIC.items() if start.startswith(magic)), None):
        raise ValueError(
            f"compressed by {by}, and samples can be had in any order from plain .tar only; unpack it"
        )
    length = shard.stat().st_size
    with tarfile.open(shard, "r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
            if member.issparse():
                raise ValueError(f"{member.name} is sparse; pack the files again without --sparse")
            if member.islnk() or member.issym():
                raise ValueError(f"{member.name} is a link; pack the files again with --dereference")
            if member.isfile():
                if member.offset_data + member.size > length:
                    raise ValueError(f"it ends within {member.name}; it was cut short")
                yield member.name, member.offset_data, member.size


def _key_and_suffix(name: str) -> tuple[str, str]:
    """Takes a name apart at the first dot of its last part, as WebDataset does."""
    folder, _, base = name.rpartition("/")
    key, _, suffix = base.partition(".")
    return f"{folder}/{key}" if folder else key, suffix.lower()


def _label(content: bytes, suffix: str, key: str) -> str:
    text = content.decode("utf-8-sig").strip()
    if suffix != "json":
        return text
    known: Any = json.loads(text)
    if not isinstance(known, dict) or key not in known:
        there = ", ".join(known) if isinstance(known, dict) else type(known).__name__
        raise ValueError(f"no {key} in its JSON, which has {there}; data.label_key=KEY names another one")
    return "" if known[key] is None else str(known[key]).strip()


def _samples(shard: Path, label_of: LabelOf) -> Iterator[Sample]:
    """Yields the samples of a tar: files that lie one after the other and have one key."""
    key, files, done = None, {}, set()
    with shard.open("rb") as content:

        def sample() -> Sample | None:
            pictures = [suffix for suffix in files if f".{suffix.rpartition('.')[2]}" in IMAGE_SUFFIXES]
            if not pictures:
                return None
            if len(pictures) > 1:
                raise ValueError(
                    f"{key} has {len(pictures)} pictures ({', '.join(pictures)}); one would work"
                )
            suffix = label_of.suffix or next((each for each in LABEL_SUFFIXES if each in files), None)
            if suffix is None or suffix not in files:
                missing = suffix or ", .".join(LABEL_SUFFIXES)
                raise ValueError(f"{key} has no label: no .{missing} beside its picture")
            name, start, size = files[suffix]
            content.seek(start)
            try:
                label = _label(content.read(size), suffix, label_of.key)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if not label:
                raise ValueError(f"{name} is an empty label")
            return Sample(files[pictures[0]][0], label, *files[pictures[0]][1:])

        for name, start, size in _members(shard):
            this, suffix = _key_and_suffix(name)
            if this != key:
                if found := sample():
                    yield found
                key, files = this, {}
                if hash(key) in done:
                    way = "pack the files of a sample together"
                    raise ValueError(f"{key} is there twice, in two places; {way}")
                done.add(hash(key))
            files[suffix] = (name, start, size)
        if found := sample():
            yield found


class _Shard(NamedTuple):
    """What one tar holds, and the state of its file."""

    facts: tuple[int, ...]
    names: Names
    labels: Names
    starts: np.ndarray
    sizes: np.ndarray


def _read(shard: Path, label_of: LabelOf) -> _Shard:
    facts = file_facts(shard)
    try:
        samples = list(_samples(shard, label_of))
    except (ValueError, tarfile.TarError) as error:
        why = str(error) if isinstance(error, ValueError) else f"no whole tar ({error})"
        raise ValueError(f"{as_text(shard)}: {as_text(why)}") from None
    except OSError as error:
        raise ValueError(f"{as_text(shard)}: {error.strerror or error}") from None
    names, labels = Names.of(each.name for each in samples), Names.of(each.label for each in samples)
    starts = np.array([each.start for each in samples], np.int64)
    sizes = np.array([each.size for each in samples], np.int64)
    return _Shard(facts, names, labels, starts, sizes)


def _part(content: np.ndarray, ends: np.ndarray, rows: slice) -> Names:
    """Returns some of many texts that lie one after the other."""
    start = int(ends[rows.start - 1]) if rows.start else 0
    of_rows = ends[rows] - start
    return Names(content[start : start + int(of_rows[-1]) if len(of_rows) else start], of_rows)


def _recall(memory: Path) -> dict[str, _Shard]:
    """Returns what was kept of tars, by their paths; an empty dictionary where it cannot be read."""
    try:
        with memory.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            paths = os.fsdecode(kept["paths"].tobytes()).split("\0")
            arrays = {
                name: kept[name] for name in ("names", "name_ends", "labels", "label_ends", "starts", "sizes")
            }
            bounds, facts = np.concatenate([[0], kept["counts"].cumsum()]), kept["facts"]
        known = {}
        for number, path in enumerate(paths):
            rows = slice(int(bounds[number]), int(bounds[number + 1]))
            known[path] = _Shard(
                tuple(facts[number].tolist()),
                _part(arrays["names"], arrays["name_ends"], rows),
                _part(arrays["labels"], arrays["label_ends"], rows),
                arrays["starts"][rows],
                arrays["sizes"][rows],
            )
        return known
    except Exception:  # a damaged archive makes numpy and zipfile raise almost anything
        return {}


def _joined(texts: Sequence[Names]) -> Names:
    shifts = np.cumsum([0, *(len(each.content) for each in texts)])
    ends = [each.ends + shift for each, shift in zip(texts, shifts[:-1], strict=True)]
    return Names(np.concatenate([each.content for each in texts]), np.concatenate(ends))


def read_tars(shards: Sequence[Path], label_of: LabelOf, cache: Path) -> Samples:
    """Returns the samples of tars, one tar after the other; what they hold is kept under `cache`, and counts
    while a tar's size, times and inode are the same. Raises ValueError in one line for a tar that is
    compressed, cut short, or of other things than samples."""
    paths = [str(shard.absolute()) for shard in shards]
    asked = hashlib.blake2b(os.fsencode(repr((FORMAT, label_of, paths))), digest_size=16).hexdigest()
    memory = cache / "tars" / f"{asked}.npz"
    known = _recall(memory)
    by_path = dict(zip(paths, shards, strict=True))
    new = {
        path: shard
        for path, shard in by_path.items()
        if path not in known or known[path].facts != file_facts(shard)
    }
    found = in_threads(lambda shard: _read(shard, label_of), list(new.values()), "reading the headers of tar")
    known |= zip(new, found, strict=True)
    tars = [known[path] for path in paths]
    names, labels = _joined([tar.names for tar in tars]), _joined([tar.labels for tar in tars])
    starts, sizes = np.concatenate([tar.starts for tar in tars]), np.concatenate([tar.sizes for tar in tars])
    counts = np.array([len(tar.names) for tar in tars])
    if new:
        with contextlib.suppress(OSError):  # then all is read again the next time
            memory.parent.mkdir(parents=True, exist_ok=True)
            with replaced(memory) as part, part.open("wb") as file:
                np.savez(
                    file,
                    paths=np.frombuffer(os.fsencode("\0".join(paths)), np.uint8),
                    facts=np.array([tar.facts for tar in tars], np.int64),
                    counts=counts,
                    names=names.content,
                    name_ends=names.ends,
                    labels=labels.content,
                    label_ends=labels.ends,
                    starts=starts,
                    sizes=sizes,
                )
    times = np.repeat(np.array([tar.facts[1] // 10**9 for tar in tars], np.int64), counts)
    holders = np.repeat(np.arange(len(tars)), counts)
    return Samples(InsidePlaces(shards, holders, starts, names, sizes, times), labels)
