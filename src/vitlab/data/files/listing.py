"""Which pictures lie in which folders: a large set is listed once and kept in an index."""

import contextlib
import hashlib
import json
import os
import stat
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vitlab.data.files.find import look_for_images
from vitlab.data.files.names import Names
from vitlab.data.files.places import FilePlaces
from vitlab.files.atomic import replaced
from vitlab.files.digests import SETTLED_NS, file_facts

INDEXED = 20_000
"""From so many pictures on an index is kept. Fewer are listed within a second."""

LOOKED_AT = 1_000
"""So many pictures' size and time are compared with the index: a folder does not show writes to its files."""

FORMAT = 1


class Listing(NamedTuple):
    """What folders hold: the pictures of one after the other, how many each has, and what else there is."""

    places: FilePlaces
    counts: list[int]
    unread: Counter[str]
    systems: Counter[str]


class _Index(NamedTuple):
    """A listing, and the state of every folder that it comes from at the time `looked_ns`."""

    listing: Listing
    folders: list[str]
    states: np.ndarray
    looked_ns: int


def _states(folders: Iterable[str]) -> np.ndarray:
    """Returns what changes of a folder when a name in it comes, goes or changes."""
    return np.array([file_facts(Path(folder))[1:] for folder in folders], np.int64).reshape(-1, 3)


def _look(root: Path, folders: Sequence[Path]) -> _Index:
    """Lists the folders one after the other, each picture's name, size and time with it."""
    looked_ns = time.time_ns()
    sizes, times, counts, visited = array("q"), array("q"), [], []
    unread, systems = Counter[str](), Counter[str]()
    prefix = len(os.path.join(root, ""))

    def names() -> Iterable[str]:
        for folder in folders:
            found = look_for_images(folder)
            counts.append(len(found.images))
            visited.extend(found.folders)
            unread.update(found.unread)
            systems.update(found.systems)
            for file in found.images:
                size, time_ns, *_ = file_facts(file)
                sizes.append(size)
                times.append(time_ns // 10**9)
                yield str(file)[prefix:]

    packed = Names.of(names())
    places = FilePlaces(root, packed, np.frombuffer(sizes, np.int64), np.frombuffer(times, np.int64))
    return _Index(Listing(places, counts, unread, systems), visited, _states(visited), looked_ns)


def _memory(root: Path, folders: Sequence[Path], cache: Path) -> Path:
    content = hashlib.blake2b(repr(FORMAT).encode(), digest_size=16)
    for folder in (root, *folders):
        content.update(os.fsencode(folder.absolute()) + b"\0")
    return cache / "listings" / f"{content.hexdigest()}.npz"


def _recall(memory: Path, root: Path) -> _Index | None:
    """Returns what was kept of an earlier look, or None where that cannot be read."""
    try:
        with memory.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            names = Names(kept["names"], kept["ends"])
            places = FilePlaces(root, names, kept["sizes"], kept["times"])
            facts = json.loads(kept["facts"].tobytes())
            counts, unread, systems = facts["counts"], Counter(facts["unread"]), Counter(facts["systems"])
            folders = os.fsdecode(kept["folders"].tobytes()).split("\0")
            if sum(counts) != len(names) or len(kept["states"]) != len(folders):
                return None
            listing = Listing(places, counts, unread, systems)
            return _Index(listing, folders, kept["states"], int(facts["looked_ns"]))
    except Exception:  # a damaged archive makes numpy and zipfile raise almost anything
        return None


def _keep(memory: Path, index: _Index) -> None:
    places = index.listing.places
    facts = {key: getattr(index.listing, key) for key in ("counts", "unread", "systems")}
    facts["looked_ns"] = index.looked_ns
    with contextlib.suppress(OSError):  # then all is listed again the next time
        memory.parent.mkdir(parents=True, exist_ok=True)
        with replaced(memory) as part, part.open("wb") as file:
            np.savez(
                file,
                names=places.names.content,
                ends=places.names.ends,
                sizes=places.sizes,
                times=places.times,
                facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
                folders=np.frombuffer(os.fsencode("\0".join(index.folders)), np.uint8),
                states=index.states,
            )


def _holds(index: _Index) -> bool:
    """Tells whether every folder is as it was, and the size and time of evenly chosen pictures."""
    states = _states(index.folders)
    if not np.array_equal(states, index.states) or states[:, :2].max() > index.looked_ns - SETTLED_NS:
        return False
    places = index.listing.places
    count = min(len(places), LOOKED_AT)
    for place in (np.arange(count) * len(places) // count).tolist():
        size, time_ns, *_ = file_facts(places.picture(place))
        if (size, time_ns // 10**9) != (places.sizes[place], places.times[place]):
            return False
    return True


def _look_at(root: Path, names: Names) -> _Index:
    """Looks at each of the files with these names; a name that is no file gets the size -1."""
    looked_ns = time.time_ns()
    base, sizes, times, folders = os.path.join(root, ""), array("q"), array("q"), dict[str, None]()
    for name in names:
        path = base + name if name[0] != "/" else name
        folders[path.rpartition("/")[0]] = None
        try:
            found = os.stat(path)
            is_file = stat.S_ISREG(found.st_mode)
        except (OSError, ValueError):
            is_file = False
        sizes.append(found.st_size if is_file else -1)
        times.append(int(found.st_mtime) if is_file else 0)
    places = FilePlaces(root, names, np.frombuffer(sizes, np.int64), np.frombuffer(times, np.int64))
    listing = Listing(places, [len(names)], Counter(), Counter())
    return _Index(listing, list(folders), _states(folders), looked_ns)


def look_at_files(root: Path, names: Names, table: Path, cache: Path) -> FilePlaces:
    """Returns the files that a table names, below `root` or absolute, each with its size (-1: no file) and
    time; of many an index is kept under `cache`, as `list_folders` does."""
    memory = _memory(root, [table], cache)
    index = _recall(memory, root) if len(names) >= INDEXED else None
    if index is None or not index.listing.places.names.are(names) or not _holds(index):
        index = _look_at(root, names)
        if len(names) >= INDEXED:
            _keep(memory, index)
    return index.listing.places


def list_folders(root: Path, folders: Sequence[Path], cache: Path) -> Listing:
    """Returns the pictures in these folders below `root`; of many an index is kept under `cache`, which
    counts until a folder changes. Raises ValueError for a folder that cannot be read."""
    memory = _memory(root, folders, cache)
    index = _recall(memory, root)
    if index is None or not _holds(index):
        index = _look(root, folders)
        if len(index.listing.places) >= INDEXED:
            _keep(memory, index)
    return index.listing
