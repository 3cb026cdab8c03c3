"""Labels and numbers in the columns of a table: several of them for each picture."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vitlab.data.files.find import as_text
from vitlab.data.sources.layout import class_name, in_order, listed
from vitlab.data.sources.rows import read_rows
from vitlab.data.targets import TargetKind
from vitlab.shapes import Targets

KEY = "data.label_column"

NUMBER_OF = {True: 1.0, False: 0.0, "true": 1.0, "false": 0.0}

OTHER_SEPARATORS = (";", ",", "|", "/", " ", "\t")


class TargetColumns(NamedTuple):
    """The columns of labels or numbers; several labels in one column are parted by `separator`."""

    names: tuple[str, ...]
    kind: TargetKind
    separator: str | None = None

    @classmethod
    def of(
        cls, label_column: str | list[str], separator: str | None, kind: TargetKind
    ) -> "TargetColumns | None":
        """Returns the columns of labels or numbers; None where one column holds a class. Raises ValueError
        where the arguments do not go together."""
        names = [label_column] if isinstance(label_column, str) else list(label_column)
        shown = label_column if isinstance(label_column, str) else f"[{','.join(names)}]"
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{KEY}={shown}: give at least one column, and each once")
        several = not isinstance(label_column, str) or separator is not None
        if kind == "class" and several:
            what = f"data.label_separator={separator}" if separator is not None else f"{KEY}={shown}"
            raise ValueError(
                f"{what} gives several labels a picture; objective=multilabel takes them (or"
                " objective=regression numbers), and one column without a separator would work here"
            )
        if separator == "":
            raise ValueError("data.label_separator= is empty; a sign such as ';' would work")
        if separator is not None and (kind == "numbers" or len(names) > 1):
            raise ValueError(
                f"data.label_separator={separator} parts the labels of one column, and {KEY}={shown} has"
                f" {'numbers' if kind == 'numbers' else 'several'}; null would work"
            )
        return None if kind == "class" else cls(tuple(names), kind, separator)


class FoundTargets(NamedTuple):
    """What the rows of a table say, [rows, outputs], and the name of each output."""

    names: tuple[str, ...]
    values: Targets


def _number(value: Any) -> float:
    """Returns a value as a number: 1 for "true", nan for anything that is no number."""
    if value is None:
        return math.nan
    try:
        return float(NUMBER_OF.get(value.lower() if isinstance(value, str) else value, value))
    except (TypeError, ValueError):
        return math.nan


def _of_numbers(file: Path, columns: TargetColumns, rows: Sequence[tuple[Any, ...]]) -> FoundTargets:
    """Returns a number for each column, which for labels is 0 or 1."""
    what = "0 or 1" if columns.kind == "labels" else "a number"
    values = np.array([[_number(value) for value in row] for row in rows], np.float64)
    wrong = ~np.isfinite(values)
    if columns.kind == "labels":
        wrong |= (values != 0) & (values != 1)
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        given = f"{columns.names[column]}={as_text(str(rows[row][column]))[:60]!r}"
        way = ""
        if len(columns.names) == 1 and columns.kind == "labels":
            way = "; for labels in one column, data.label_separator=';' would part them"
        raise ValueError(f"{as_text(file)}: row {row + 1} has {given}, and {what} is due there{way}")
    kept = torch.from_numpy(values)
    return FoundTargets(columns.names, kept.to(torch.int8) if columns.kind == "labels" else kept.float())


def _words(value: Any, separator: str | None) -> list[str]:
    """Returns the labels that a cell holds: a list's, or those between separators."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    given = value if isinstance(value, list | tuple) else str(value).split(separator)
    return [word for each in given if (word := class_name(str(each).strip()))]


def _of_words(file: Path, columns: TargetColumns, cells: Sequence[Any]) -> FoundTargets:
    """Returns a 1 for each label that a cell holds. Raises ValueError where the separator parts none."""
    words = [_words(cell, columns.separator) for cell in cells]
    known = sorted({word for of_cell in words for word in of_cell}, key=in_order)
    if not known:
        raise ValueError(f"{KEY}={columns.names[0]}: {as_text(file)} has no label there")
    if columns.separator is not None and not any(len(of_cell) > 1 for of_cell in words):
        longest = max(known, key=len)
        others = [repr(sign) for sign in OTHER_SEPARATORS if sign in longest and sign != columns.separator]
        way = f"; {others[0]} stands there" if others else "; objective=classification takes one label"
        raise ValueError(
            f"data.label_separator={columns.separator!r} parts no label of {columns.names[0]} in"
            f" {as_text(file)}, such as {as_text(longest)[:60]!r}{way}"
        )
    place = {word: index for index, word in enumerate(known)}
    values = torch.zeros(len(words), len(known), dtype=torch.int8)
    for row, of_cell in enumerate(words):
        values[row, [place[word] for word in of_cell]] = 1
    return FoundTargets(tuple(known), values)


def read_targets(file: Path, path_column: str, columns: TargetColumns) -> FoundTargets:
    """Returns what the columns of a table hold. Raises ValueError in one line for words where numbers are
    due, and for numbers that are neither 0 nor 1 where labels are."""
    asked = [("data.path_column", path_column), *((KEY, name) for name in columns.names)]
    rows = [values[1:] for values in read_rows(file, asked)]
    holds_lists = columns.kind == "labels" and any(isinstance(row[0], list | tuple) for row in rows)
    if columns.separator is not None or holds_lists:
        return _of_words(file, columns, [row[0] for row in rows])
    return _of_numbers(file, columns, rows)


def in_order_of(found: FoundTargets, names: Sequence[str], origin: str) -> Targets:
    """Returns the values in the order of `names`. Raises ValueError for a label that is none of them."""
    if unknown := [name for name in found.names if name not in names]:
        raise ValueError(f"{origin}: found {listed(unknown)}, expected {listed(names)}")
    missing = [name for name in names if name not in found.names]
    if missing and found.values.is_floating_point():
        raise ValueError(f"{origin}: no numbers of {listed(missing)}")
    values = torch.zeros(len(found.values), len(names), dtype=found.values.dtype)
    values[:, [names.index(name) for name in found.names]] = found.values
    return values
