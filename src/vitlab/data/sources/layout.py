"""Which class folders a root holds: one folder a class, either at once or below train/, val/ and test/."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from unicodedata import normalize

from vitlab.data.files.find import as_text, is_systems

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
PARTS |= {"test": "test", "testing": "test"}


def visible_folders(folder: Path) -> dict[str, Path]:
    """Returns the visible folders in `folder` by name. Raises ValueError if it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ValueError(
            f"data.root={folder}: {error.strerror}; name a readable folder with one folder for each class"
        ) from error
    return {
        name: folder / name
        for name in names
        if not name.startswith(".") and not is_systems(name) and os.path.isdir(folder / name)
    }


def listed(names: Iterable[str]) -> str:
    """Returns names for an error's one line: ten of them, then how many more."""
    names = list(names)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def class_name(folder: str) -> str:
    """Returns a class's name from its folder's, its accents in one form (macOS parts them from letters)."""
    return normalize("NFC", as_text(folder))


def in_order(name: str) -> tuple[bool, int, str]:
    """Returns what classes are sorted by: names of digits alone come first, as numbers, others as text."""
    is_number = name.isascii() and name.isdigit()
    return not is_number, int(name) if is_number else 0, name


def alike(names: Iterable[str]) -> list[list[str]]:
    """Returns those names that differ in case, blanks or forms of one letter only, in groups."""
    groups: dict[str, list[str]] = {}
    for name in names:
        letters = normalize("NFKC", normalize("NFKC", name).casefold())
        bare = "".join(letter for letter in letters if letter.isprintable() and not letter.isspace())
        groups.setdefault(bare, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _classes(folder: Path, renamed: Mapping[str, str]) -> dict[str, Path]:
    """Returns the class folders in `folder` by class name, in their order."""
    classes: dict[str, Path] = {}
    for name, path in visible_folders(folder).items():
        known_as = class_name(renamed.get(name, name))
        if known_as in classes:
            both = [classes[known_as].name, name]
            # they look the same
            shown = both if len({class_name(each) for each in both}) == 2 else [ascii(each) for each in both]
            same = f"{' and '.join(shown)} are one class"
            raise ValueError(f"data.root={folder}: {same}; put their images into one folder")
        classes[known_as] = path
    return {name: classes[name] for name in sorted(classes, key=in_order)}


def _parts(root: Path) -> dict[str, Path] | None:
    """Returns each part's folder, train first, or None if the folders in `root` are classes themselves."""
    folders = visible_folders(root)
    named = {name: PARTS[name.strip().lower()] for name in folders if name.strip().lower() in PARTS}
    others = [name for name in folders if name not in named]
    train = [name for name, part in named.items() if part == "train"]
    # A class may be called "train", too: then it holds images, not folders, and other classes stand beside
    # it.
    if not named or (others and not (train and visible_folders(folders[train[0]]))):
        return None
    if others:
        raise ValueError(
            f"data.root={root}: {listed(others)} beside {listed(named)}; keep only train, val and test there"
        )
    if not train:
        raise ValueError(f"data.root={root}: {listed(named)} without train; name the folder that holds train")
    parts: dict[str, Path] = {}
    for part in ("train", "val", "test"):
        names = [name for name in named if named[name] == part]
        if len(names) > 1:
            raise ValueError(
                f"data.root={root}: {' and '.join(names)} both stand for {part}; keep one of them"
            )
        if names:
            parts[part] = folders[names[0]]
    return parts


def any_layout(root: Path) -> dict[str, dict[str, Path]]:
    """Returns every class folder, in `root` or below folders of parts, by part and class name."""
    folders = visible_folders(root)
    parts = [name for name in folders if name.strip().lower() in PARTS and visible_folders(folders[name])]
    places = {name: folders[name] for name in parts} if parts and len(parts) == len(folders) else {"": root}
    layout = {f"part {part}": _classes(folder, {}) for part, folder in places.items()}
    if not any(layout.values()):
        raise ValueError(
            f"data.root={root}: no class folder; it takes some, each with the images of one class"
        )
    return layout


def find_layout(
    root: Path, renamed: Mapping[str, str], expected: Collection[str] | None
) -> dict[str, dict[str, Path]]:
    """Returns for each part ("all", or "train" and others) its class folders by class name, sorted. `renamed`
    maps names of folders to names of classes; with `expected` the classes must be these. Raises ValueError if
    not, if there are fewer than two, or if a part has a class that train lacks."""
    parts = _parts(root) or {"all": root}
    layout = {part: _classes(folder, renamed) for part, folder in parts.items()}
    base, classes = next(iter(layout.items()))
    if expected is not None and set(classes) != set(expected):
        found = f"the folders {listed(classes)}" if classes else "no folder"
        raise ValueError(f"data.root={parts[base]}: found {found}, expected {listed(expected)}")
    if len(classes) < 2:
        found = f"only one class folder ({listed(classes)})" if classes else "no class folder"
        raise ValueError(
            f"data.root={parts[base]}: {found}; it takes two or more, each with the images of one class"
        )
    for part, folders in layout.items():
        if unknown := [name for name in folders if name not in classes]:
            twins = [group for group in alike([*classes, *unknown]) if not set(group).isdisjoint(unknown)]
            alikes = " and ".join(map(repr, twins[0])) if twins else ""
            how = f" ({alikes} differ in case or blanks; rename one)" if twins else ""
            raise ValueError(
                f"data.root={parts[part]}: {listed(unknown)} are no classes of train; it has"
                f" {listed(classes)}{how}"
            )
        if not folders:
            way = f"remove {part} or give it some of {listed(classes)}"
            raise ValueError(f"data.root={parts[part]}: no class folder; {way}")
    return layout
