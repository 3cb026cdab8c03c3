"""A table of pictures: the path of each one below a folder, its class, and where asked for its part, its
group and its weight."""

import math
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vitlab.data.files.find import as_text
from vitlab.data.files.listing import look_at_files
from vitlab.data.files.places import FilePlaces, Names
from vitlab.data.files.store import Stored, cache_root
from vitlab.data.sources.folder import Listed, PictureFiles
from vitlab.data.sources.layout import PARTS, class_name, in_order, listed
from vitlab.data.sources.rows import read_rows
from vitlab.data.sources.target_columns import FoundTargets, TargetColumns, in_order_of, read_targets
from vitlab.data.targets import TargetKind
from vitlab.files.digests import Facts, file_facts


class Columns(NamedTuple):
    """Names of a table's columns; None: it has none of the kind."""

    path: str
    label: str | None
    split: str | None
    group: str | None
    weight: str | None = None
    targets: TargetColumns | None = None
    """Of labels or numbers, in the place of `label`."""

    def asked(self) -> list[tuple[str, str]]:
        """Returns the key and the name of each column that is there to be read."""
        return [(f"data.{key}_column", name) for key, name in self._asdict().items() if isinstance(name, str)]


class Pictures(NamedTuple):
    """The rows of a table: a path, a class and maybe a part, a group and a weight for each picture."""

    names: Names
    class_names: tuple[str, ...]
    labels: np.ndarray
    parts: np.ndarray | None
    """Index in `PART_NAMES`."""
    groups: np.ndarray | None
    weights: np.ndarray | None
    rows: np.ndarray
    """Which rows count: one for each picture."""
    targets: FoundTargets | None = None
    """Labels or numbers of all rows, in the place of classes."""


PART_NAMES = ("train", "val", "test")

WEIGHT = "data.weight_column"


def _word(value: Any) -> str:
    """Returns a table's value as text: a whole number without a fraction, and nothing for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


class _Codes:
    """Numbers words by their first appearance."""

    def __init__(self, file: Path, column: str):
        self.file = file
        self.column = column
        self.words: dict[str, int] = {}
        self.values: dict[Any, int] = {}

    def new(self, value: Any, row: int) -> int:
        """Returns the number of a value that was not seen before in this form. Raises ValueError for an empty
        one."""
        word = class_name(_word(value))
        if not word:
            raise ValueError(
                f"{as_text(self.file)}: row {row} has no {self.column}; give it one, or leave it out"
            )
        self.values[value] = self.words.setdefault(word, len(self.words))
        return self.values[value]


class _Weights:
    """Reads numbers from 0 up; unlike `_Codes` it keeps none of them."""

    values: Mapping[Any, float] = {}

    def __init__(self, file: Path, column: str):
        self.file = file
        self.column = column

    def new(self, value: Any, row: int) -> float:
        """Returns a value as a number. Raises ValueError for what is none, and for one below 0."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < math.inf:
            raise ValueError(
                f"{as_text(self.file)}: row {row} has {self.column}={as_text(str(value))}; a weight is a"
                " number from 0 up"
            )
        return number


def _inside(path: str, root: Path, allow_absolute: bool) -> str:
    """Returns a path below `root` in its shortest form. Raises ValueError for one that leaves it."""
    if os.path.isabs(path):
        if (short := os.path.normpath(path)).startswith(os.path.join(root, "")):
            return os.path.relpath(short, root)
        if not allow_absolute:
            raise ValueError(f"{path} is not below data.root={root}; data.allow_absolute=true would allow it")
        return short
    short = os.path.normpath(path)
    if short.split(os.sep, 1)[0] == os.pardir:
        raise ValueError(f"{path} leaves data.root={root}; paths below it would work")
    return short


def _is_plain(path: str) -> bool:
    """Tells quickly of most paths that they lie below the folder, in their shortest form."""
    return not (
        path.startswith(("/", "./")) or ".." in path or "//" in path or "/./" in path or os.sep != "/"
    )


@lru_cache(maxsize=2)
def read_table(
    file: Path, facts: Facts, columns: Columns, path_format: str, root: Path, allow_absolute: bool
) -> Pictures:
    """Returns the rows of a table, as it is while its file's `facts` are these.

    Raises ValueError for a path that leaves `root`, an empty value, and rows that disagree on one picture.
    """
    codes = {key: _Codes(file, name) for key, name in columns.asked() if key != WEIGHT}
    of = [codes.get(key) or _Weights(file, name) for key, name in columns.asked()[1:]]
    numbers = [array("d" if isinstance(each, _Weights) else "q") for each in of]
    hashes = array("q")
    is_plain, known = (
        path_format == "{}",
        [(code.values, code.new, column.append) for code, column in zip(of, numbers, strict=True)],
    )

    def paths() -> Iterator[str]:
        for row, (path, *values) in enumerate(read_rows(file, columns.asked()), start=1):
            for (seen, new, append), value in zip(known, values, strict=True):
                number = seen.get(value)
                append(new(value, row) if number is None else number)
            if not isinstance(path, str) or not path or path[0] == " " or path[-1] == " ":
                path = _word(path)
                if not path:
                    raise ValueError(f"{as_text(file)}: row {row} has no {columns.path}")
            if not is_plain:
                path = path_format.replace("{}", path)
            if not _is_plain(path):
                try:
                    path = _inside(path, root, allow_absolute)
                except ValueError as error:
                    raise ValueError(f"{as_text(file)}: row {row}: {error}") from None
            hashes.append(hash(path))
            yield path

    names = Names.of(paths())
    arrays = [np.frombuffer(column, column.typecode) for column in numbers]
    by_key = dict(zip([key for key, _ in columns.asked()[1:]], arrays, strict=True))
    rows = _once(file, names, np.frombuffer(hashes, np.int64), columns, arrays)
    targets = None
    if columns.targets is not None:
        targets = read_targets(file, columns.path, columns.targets)
        _agree(file, names, rows, targets)
    words = list(codes["data.label_column"].words) if columns.label else [""]
    order = sorted(range(len(words)), key=lambda code: in_order(words[code]))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    parts, weights = None, by_key.get(WEIGHT)
    if weights is not None and not weights[rows].any():
        raise ValueError(
            f"{WEIGHT}={columns.weight}: {as_text(file)} has 0 in all rows; one above 0 would work"
        )
    if columns.split:
        parts = _parts(file, columns.split, codes["data.split_column"].words)[by_key["data.split_column"]]
    return Pictures(
        names,
        tuple(words[code] for code in order),
        place[by_key["data.label_column"]] if columns.label else np.zeros(len(names), np.int64),
        parts,
        by_key.get("data.group_column"),
        weights,
        rows,
        targets,
    )


def _agree(file: Path, names: Names, rows: np.ndarray, targets: FoundTargets) -> None:
    """Raises ValueError where two rows say different things of one picture."""
    if len(rows) == len(names):
        return
    first = {names[row]: row for row in rows.tolist()}
    for row in np.setdiff1d(np.arange(len(names)), rows).tolist():
        if not torch.equal(targets.values[row], targets.values[first[names[row]]]):
            raise ValueError(
                f"{as_text(file)}: rows {first[names[row]] + 1} and {row + 1} disagree on the labels of"
                f" {as_text(names[row])}; keep one of them"
            )


def _parts(file: Path, column: str, words: Mapping[str, int]) -> np.ndarray:
    """Returns for each word of the split column the part that it stands for."""
    if unknown := [word for word in words if word.lower() not in PARTS]:
        known = ", ".join(PARTS)
        raise ValueError(
            f"data.split_column={column}: {as_text(file)} has {listed(unknown)} there; known: {known}"
        )
    return np.array([PART_NAMES.index(PARTS[word.lower()]) for word in words], np.int64)


def _once(
    file: Path, names: Names, hashes: np.ndarray, columns: Columns, values: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns one row for each picture. Raises ValueError for rows that say different things of one."""
    order = hashes.argsort(kind="stable")
    twice = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    again = []
    for first, second in zip(order[twice].tolist(), order[twice + 1].tolist(), strict=True):
        if names[first] != names[second]:
            continue
        for (_, column), column_values in zip(columns.asked()[1:], values, strict=True):
            if column_values[first] != column_values[second]:
                raise ValueError(
                    f"{as_text(file)}: rows {first + 1} and {second + 1} disagree on the {column} of"
                    f" {as_text(names[first])}; keep one of them"
                )
        again.append(second)
    return np.delete(np.arange(len(names)), again)


def _as_in_folders(table: Pictures, rows: np.ndarray) -> np.ndarray:
    """Returns the rows in the order that the pictures would have in class folders: whatever the table's own
    order, splits are the same."""
    by_class = rows[table.labels[rows].argsort(kind="stable")]
    sizes = np.bincount(table.labels[rows], minlength=len(table.class_names))
    return np.concatenate(
        [
            np.array(sorted(of_class.tolist(), key=table.names.__getitem__), np.int64)
            for of_class in np.split(by_class, sizes.cumsum()[:-1])
        ]
    )


class Table(PictureFiles):
    """Source of the pictures that the table `file` names: their paths below `root`, and their classes.

    `file` lies in `root` or anywhere: CSV, TSV, JSON lines or Parquet. `path_format`, such as
    `images/{}.png`, makes paths of what `path_column` has. Without `split_column` all rows are one part;
    pictures of one value in `group_column` stay on one side of every split. `weight_column` says how much
    each picture counts in training, as a number from 0 up. `targets` says whether `label_column` has a class,
    labels (a column of 0 and 1 each, or words in one, parted by `label_separator`) or numbers.
    """

    kinds = ("class", "labels", "numbers")

    def __init__(
        self,
        root: str,
        image_size: int | list[int],
        file: str,
        path_column: str = "path",
        label_column: str | list[str] = "label",
        split_column: str | None = None,
        group_column: str | None = None,
        path_format: str = "{}",
        allow_absolute: bool = False,
        weight_column: str | None = None,
        label_separator: str | None = None,
        targets: TargetKind = "class",
        **options: Any,
    ):
        super().__init__(root, image_size, targets=targets, **options)
        if "{}" not in path_format:
            raise ValueError(
                f"data.path_format={path_format}: {{}} stands for what the column has, and is missing"
            )
        self.file = self.root / file if os.path.exists(self.root / file) else Path(file)
        several = TargetColumns.of(label_column, label_separator, targets)
        one = label_column if several is None and isinstance(label_column, str) else None
        self.columns = Columns(path_column, one, split_column, group_column, weight_column, several)
        self.path_format = path_format
        self.allow_absolute = allow_absolute
        self._left_out: list[str] = []

    @property
    def origin(self) -> str:
        return f"data.file={as_text(self.file)}"

    def _table(self) -> Pictures:
        return read_table(
            self.file,
            file_facts(self.file),
            self.columns,
            self.path_format,
            Path(os.path.abspath(self.root)),
            self.allow_absolute,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index: the labels of the table, sorted, or the columns that hold them."""
        table = self._table()
        found = table.class_names if table.targets is None else table.targets.names
        if self.expected is not None:
            if set(found) - set(self.expected):
                raise ValueError(f"{self.origin}: found {listed(found)}, expected {listed(self.expected)}")
            return tuple(self.expected)
        if len(found) < 2 and self.targets == "class" and not self.whole:
            raise ValueError(f"{self.origin}: only one class ({listed(found)}); it takes two or more")
        return found

    def _list(self) -> dict[str, Listed]:
        table, names = self._table(), self.class_names
        number, targets = np.array([0]), None
        if table.targets is None:
            number = np.array([names.index(name) for name in table.class_names])
        else:
            targets = in_order_of(table.targets, names, self.origin)
        places, rows = self._places(table)
        rows = _as_in_folders(table, rows)
        parts = {"all": rows}
        if table.parts is not None:
            parts = {name: rows[table.parts[rows] == index] for index, name in enumerate(PART_NAMES)}
            parts = {name: of_part for name, of_part in parts.items() if len(of_part)}
        self._check_parts(table, parts)
        return {
            part: Listed(
                places.chosen(of_part),
                number[table.labels[of_part]].tolist(),
                None if table.groups is None else torch.from_numpy(table.groups[of_part]),
                weights=None if table.weights is None else torch.from_numpy(table.weights[of_part]),
                targets=None if targets is None else targets[torch.from_numpy(of_part)],
            )
            for part, of_part in parts.items()
        }

    def _check_parts(self, table: Pictures, parts: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError where there is nothing to train on, or a class that is tested has no such
        picture."""
        if self.whole:
            return
        base = next(iter(parts))
        if base not in ("all", "train"):
            raise ValueError(
                f"data.split_column={self.columns.split}: {as_text(self.file)} has"
                f" {listed(parts)} without train"
            )
        if table.targets is not None:
            self._check_labels(table.targets, parts[base])
            return
        there = set(table.labels[parts[base]].tolist())
        for part, rows in parts.items():
            if unknown := [
                table.class_names[label] for label in sorted(set(table.labels[rows].tolist()) - there)
            ]:
                raise ValueError(f"{self.origin}: {listed(unknown)} in {part} are no classes of train")

    def _check_labels(self, targets: FoundTargets, rows: np.ndarray) -> None:
        """Raises ValueError for a label that no training picture has, or that all of them have."""
        if targets.values.is_floating_point():
            return
        counts = targets.values[torch.from_numpy(rows)].long().sum(dim=0).tolist()
        for name, count in zip(targets.names, counts, strict=True):
            if count in (0, len(rows)):
                which = "no" if not count else "every"
                raise ValueError(
                    f"{self.origin}: {which} training picture has {name}, so nothing tells it apart; leave"
                    " it out"
                )

    def _places(self, table: Pictures) -> tuple[FilePlaces, np.ndarray]:
        """Returns where the pictures lie, and which rows of the table are there. Raises ValueError for files
        that are not, unless bad images are skipped."""
        places = look_at_files(self.root, table.names, self.file, cache_root(self.cache_dir))
        if missing := np.flatnonzero(places.sizes < 0).tolist():
            files = listed(as_text(table.names[row]) for row in missing[:4])
            line = f"{len(missing):,} of {len(table.names):,} pictures are no files below"
            line += f" data.root={as_text(self.root)}: {files}"
            if self.decoding.on_bad_image == "error" or len(missing) == len(table.names):
                raise ValueError(f"{self.origin}: {line}; data.path_format=... makes paths of names")
            self._left_out = [line + " ..." * (len(missing) > 4)]
        return places, np.setdiff1d(table.rows, missing)

    def _notes(self, opened: Mapping[str, Stored]) -> Iterator[str]:
        table = self._table()
        if again := len(table.names) - len(table.rows):
            yield f"{self.origin}: {again:,} row(s) name a picture that another row names; each counts once"
        yield from (f"{self.origin}: {line}" for line in self._left_out)
        yield from super()._notes(opened)
