"""The rows of a table of pictures, as columns of numbers: paths, classes, parts, groups, weights."""

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
from vitlab.data.files.names import Names
from vitlab.data.sources.layout import PARTS, class_name, in_order, listed
from vitlab.data.sources.rows import read_rows
from vitlab.data.sources.target_columns import FoundTargets, TargetColumns, read_targets
from vitlab.files.digests import Facts


class Columns(NamedTuple):
    """Names of a table's columns; None: it has none of the kind."""

    path: str
    label: str | None
    split: str | None
    group: str | None
    weight: str | None = None
    targets: TargetColumns | None = None
    """The columns of labels or numbers, in the place of `label`."""

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
        """Gives a new value its number, and returns that. Raises ValueError for an empty value."""
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
        """Returns a value as a number. Raises ValueError for a value that is no number from 0 up."""
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
    is_odd = path.startswith(("/", "./")) or ".." in path or "//" in path or "/./" in path
    return not is_odd and os.sep == "/"


@lru_cache(maxsize=2)
def read_table(
    file: Path, facts: Facts, columns: Columns, path_format: str, root: Path, allow_absolute: bool
) -> Pictures:
    """Returns the rows of a table, as it is while its file's `facts` are these. Raises ValueError for a path
    that leaves `root`, an empty value, and rows that disagree on one picture."""
    codes = {key: _Codes(file, name) for key, name in columns.asked() if key != WEIGHT}
    of = [codes.get(key) or _Weights(file, name) for key, name in columns.asked()[1:]]
    numbers = [array("d" if isinstance(each, _Weights) else "q") for each in of]
    hashes = array("q")
    is_plain = path_format == "{}"
    known = [(code.values, code.new, column.append) for code, column in zip(of, numbers, strict=True)]

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
        what = f"{as_text(file)} has 0 in all rows; one above 0 would work"
        raise ValueError(f"{WEIGHT}={columns.weight}: {what}")
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
        what = f"{as_text(file)} has {listed(unknown)} there; known: {', '.join(PARTS)}"
        raise ValueError(f"data.split_column={column}: {what}")
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
