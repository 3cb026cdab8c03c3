"""Which files below a folder are images, and what else lies there, counted, so that nothing lacks unseen."""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vitlab.data.files.suffixes import IMAGE_SUFFIXES, WAYS_TO_READ

log = logging.getLogger(__name__)

# of network storage: @eaDir holds thumbnails
SYSTEMS_FOLDERS = {"@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "@tmp"}
SYSTEMS_FOLDERS |= {"__macosx", "network trash folder", "temporary items", "lost+found", "__pycache__"}
SYSTEMS_FOLDERS |= {"$recycle.bin", "system volume information"}
"""Folders that systems put beside and into any folder, in lower case: no classes, and nobody's images."""

SYSTEMS_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


EMPTY = "empty folder(s)"
"""How folders without any file are counted among what is not read."""

SAID = 10
"""Kinds of files that are named in a line; of others the number."""


class Found(NamedTuple):
    """Images, sorted, and counts of what else: files by suffix, and a system's folders by name."""

    images: list[Path]
    unread: Counter[str]
    systems: Counter[str]
    folders: tuple[str, ...] = ()
    """Where the images were looked for."""


def as_text(path: Path | str) -> str:
    """Returns a path as it can be written anywhere: what is no UTF-8 in a file's name becomes an escape
    sequence, such as `caf\\xe9`. The name is the same in any locale: Python has kept its bytes where they
    mean nothing in the present one."""
    try:
        return str(path).encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # Windows' names may hold what is neither text nor bytes
        return str(path).encode(errors="backslashreplace").decode()


def is_systems(folder: str) -> bool:
    """Tells whether a folder of this name belongs to a system."""
    return folder.lower() in SYSTEMS_FOLDERS


def _sorted_out(folder: str | Path, names: Iterable[str]) -> tuple[list[Path], Counter[str]]:
    """Returns the images among these files, and how many others by suffix, leaving out hidden ones."""
    images, unread = [], Counter()
    for name in names:
        suffix = os.path.splitext(name)[1].lower()
        if name.startswith("."):
            continue
        if suffix in IMAGE_SUFFIXES:
            images.append(Path(folder, name))
        elif name.lower() not in SYSTEMS_FILES:
            unread[as_text(suffix) or "without a suffix"] += 1
    return images, unread


def look_for_images(path: Path) -> Found:
    """Returns what lies below a folder, nothing hidden, links followed once, or raises ValueError."""

    def fail(error: OSError) -> None:
        raise ValueError(
            f"{error.filename}: cannot be read ({error.strerror}); give an image or a folder of images"
        ) from error

    # A link back to a folder above would lead into the neighbours, and to no end.
    seen = {os.path.realpath(parent) for parent in path.absolute().parents}
    images, unread, systems, visited = [], Counter(), Counter(), []
    for folder, folders, names in os.walk(path, followlinks=True, onerror=fail):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        visited.append(folder)
        systems.update(name for name in folders if is_systems(name))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_systems(name))
        found, others = _sorted_out(folder, names)
        images += found
        unread += others
        if not folders and not found and not others and Path(folder) != path:
            unread[EMPTY] += 1
    prefix = len(os.path.join(path, ""))
    images.sort(key=lambda file: str(file)[prefix:].replace(os.sep, "/"))
    return Found(images, unread, systems, tuple(visited))


def look_beside(folder: Path) -> Found:
    """Returns what lies in a folder itself, and not below it."""
    with os.scandir(folder) as entries:
        is_folder = {entry.name: entry.is_dir() for entry in entries}
    images, unread = _sorted_out(folder, sorted(name for name in is_folder if not is_folder[name]))
    return Found(images, unread, Counter(name for name in is_folder if is_folder[name] and is_systems(name)))


def describe_unread(unread: Counter[str], systems: Counter[str]) -> str:
    """Returns in words what was left out, or nothing where nothing was."""
    ways = {what: f" ({way} would)" for what, way in WAYS_TO_READ.items()}
    common = unread.most_common(SAID)
    files = ", ".join(f"{number:,} {what}{ways.get(what, '')}" for what, number in common)
    if len(unread) > SAID:
        files += f" and {unread.total() - sum(number for _, number in common):,} more"
    often = {name: f" ({number:,} times)" * (number > 1) for name, number in systems.most_common(SAID)}
    told = [f"not read: {files}"] if unread else []
    told += [
        f"a system's own folders: {', '.join(f'{name}{times}' for name, times in often.items())}"
    ] * bool(often)
    return "; ".join(told)


def nothing_found(path: Path, found: Found) -> ValueError:
    """Returns the complaint about a folder without an image."""
    there = describe_unread(found.unread, found.systems)
    return ValueError(
        f"{path}: no image found{f' ({there})' if there else ''}; image files end with"
        f" {' '.join(sorted(IMAGE_SUFFIXES))}"
    )


def find_images(path: Path) -> list[Path]:
    """Returns `path` itself if it is a file, else the images below it; logs what else is there. Raises
    ValueError if there is no image or a folder cannot be read."""
    if os.path.isfile(path):
        return [path]
    found = look_for_images(path)
    if not found.images:
        raise nothing_found(path, found)
    if there := describe_unread(found.unread, found.systems):
        log.warning("%s: %s", as_text(path), there)
    return found.images
