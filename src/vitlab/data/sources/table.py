"""A table of pictures: each one's path, class, and where asked for its part, group and weight."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitlab.data.files.find import as_text
from vitlab.data.files.listing import look_at_files
from vitlab.data.files.places import FilePlaces
from vitlab.data.files.store import Stored, cache_root
from vitlab.data.sources.layout import listed
from vitlab.data.sources.listed_pictures import Listed
from vitlab.data.sources.picture_files import PictureFiles
from vitlab.data.sources.table_rows import PART_NAMES, Columns, Pictures, read_table
from vitlab.data.sources.target_columns import FoundTargets, TargetColumns, in_order_of
from vitlab.data.targets import TargetKind
from vitlab.files.digests import file_facts


def _as_in_folders(table: Pictures, rows: np.ndarray) -> np.ndarray:
    """Returns the rows in the order of class folders: whatever the table's own, splits are the same."""
    by_class = rows[table.labels[rows].argsort(kind="stable")]
    sizes = np.bincount(table.labels[rows], minlength=len(table.class_names))
    classes = np.split(by_class, sizes.cumsum()[:-1])
    by_name = [sorted(of_class.tolist(), key=table.names.__getitem__) for of_class in classes]
    return np.concatenate([np.array(of_class, np.int64) for of_class in by_name])


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
        place = (Path(os.path.abspath(self.root)), self.allow_absolute)
        return read_table(self.file, file_facts(self.file), self.columns, self.path_format, *place)

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
        """Raises ValueError where nothing is there to train on, or a class is only tested."""
        if self.whole:
            return
        base = next(iter(parts))
        if base not in ("all", "train"):
            what = f"{as_text(self.file)} has {listed(parts)} without train"
            raise ValueError(f"data.split_column={self.columns.split}: {what}")
        if table.targets is not None:
            self._check_labels(table.targets, parts[base])
            return
        there = set(table.labels[parts[base]].tolist())
        for part, rows in parts.items():
            if unknown := sorted(set(table.labels[rows].tolist()) - there):
                words = listed(table.class_names[label] for label in unknown)
                raise ValueError(f"{self.origin}: {words} in {part} are no classes of train")

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
