"""Data sets of Hugging Face's `datasets`: from the Hub, saved folders, Parquet files, image folders."""

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vitlab.data.files.find import as_text
from vitlab.data.files.names import Names
from vitlab.data.files.places import Held, Picture, Places
from vitlab.data.files.store import Stored
from vitlab.data.sources.layout import PARTS, class_name, in_order, listed
from vitlab.data.sources.listed_pictures import Listed
from vitlab.data.sources.picture_files import PictureFiles
from vitlab.data.sources.sequences import labels_of, names_of, one_each
from vitlab.files.digests import file_facts


class Rows(Places):
    """The pictures in a column of a data set, which gives their bytes or their path."""

    def __init__(self, data: Any, column: str, names: Names, sizes: np.ndarray, times: np.ndarray):
        super().__init__(names, sizes, times)
        self.data = data
        self.column = column

    @classmethod
    def of(cls, part: str, data: Any, column: str) -> "Rows":
        """Returns all pictures of a part; a picture is called by its part and row."""
        count = len(data)
        times = [file_facts(Path(each["filename"]))[1] // 10**9 for each in data.cache_files]
        names = Names.of(f"{part}/{row}" for row in range(count))
        size = data.data.nbytes // max(count, 1)  # on average: nothing tells each one's without reading it
        return cls(data, column, names, np.full(count, size), np.full(count, max(times, default=0)))

    def picture(self, row: int) -> Picture:
        held = self.data[row][self.column]
        if held["bytes"] is not None:
            suffix = os.path.splitext(held["path"] or "")[1]
            return Held(f"{self.names[row]}{suffix}", held["bytes"])
        return Path(held["path"])


@lru_cache(maxsize=2)
def load_parts(path: str, config_name: str | None) -> Mapping[str, Any]:
    """Returns the splits of a data set by name: of a folder or file, or of what is called so on the Hub.
    Raises ValueError in one line where there is none, or the library is missing."""
    try:
        import datasets
    except ImportError:
        raise ValueError("data=hf needs Hugging Face's datasets: pip install 'vitlab[hf]'") from None
    datasets.disable_progress_bars()
    try:
        if any(os.path.isfile(os.path.join(path, name)) for name in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(path)
        elif path.endswith(".parquet") and os.path.isfile(path):
            found = datasets.load_dataset("parquet", data_files=path)
        else:
            found = datasets.load_dataset(path, config_name)
    except Exception as error:  # of what is missing or damaged the library raises almost anything
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"data.path={as_text(path)}: {why}; a folder, a .parquet file, or a name on the Hub would work"
        ) from None
    return {str(name): data for name, data in found.items()} if isinstance(found, dict) else {"all": found}


class HuggingFace(PictureFiles):
    """Source of the data set that `path` names: a folder that `datasets` saved, Parquet files, an image
    folder, or a name on the Hub, of which `config_name` chooses a configuration. Its splits train, validation
    and test are taken over; of `ClassLabel`s the names. A split without labels is left out and named."""

    kinds = ("class", "labels")

    def __init__(
        self,
        root: str,
        image_size: int | list[int],
        path: str,
        image_column: str = "image",
        label_column: str = "label",
        config_name: str | None = None,
        **options: Any,
    ):
        super().__init__(root, image_size, **options)
        self.path = str(self.root) if os.path.exists(self.root) else path
        self.image_column = image_column
        self.label_column = label_column
        self.config_name = config_name
        self._found: dict[str, Any] | None = None
        self._left_out: list[str] = []

    @property
    def origin(self) -> str:
        return f"data.path={as_text(self.path)}"

    def _parts(self) -> dict[str, Any]:
        """Returns the data of each part, its pictures as bytes."""
        if self._found is not None:
            return self._found
        import datasets

        parts: dict[str, Any] = {}
        for name, data in load_parts(self.path, self.config_name).items():
            part = "all" if name == "all" else PARTS.get(str(name).lower())
            if part is None or part in parts:
                what = "is neither train, validation nor test"
                self._left_out.append(f"split {name} ({len(data):,} rows) {what}")
                continue
            for key, column in (("image", self.image_column), ("label", self.label_column)):
                if column not in data.column_names:
                    raise ValueError(
                        f"data.{key}_column={column}: {self.path} has no such column; it has"
                        f" {listed(data.column_names)}"
                    )
            if part in ("val", "test") and all(label is None or label == -1 for label in self._raw(data)):
                self._left_out.append(f"split {name} ({len(data):,} rows) has no labels")
                continue
            parts[part] = data.cast_column(self.image_column, datasets.Image(decode=False))
        ordered = {part: parts[part] for part in ("all", "train", "val", "test") if part in parts}
        if not self.whole and next(iter(ordered), "") not in ("all", "train"):
            raise ValueError(f"{self.origin}: no split train with labels")
        self._found = ordered
        return ordered

    def _raw(self, data: Any) -> Any:
        """Returns the labels of all rows, as fast as the library gives them."""
        if self.targets == "labels" or not len(data):
            return data[self.label_column]
        return data.with_format("numpy", columns=[self.label_column])[:][self.label_column]

    def _labels(self, part: str) -> list[str]:
        """Returns the class of each row in words."""
        data = self._parts()[part]
        feature, values = data.features[self.label_column], list(data[self.label_column])
        if missing := [row for row, value in enumerate(values) if value in (None, "", -1)]:
            of_all = f"row {missing[0]} of {part} has no {self.label_column}; {len(missing):,} have none"
            raise ValueError(f"{self.origin}: {of_all}")
        if any(isinstance(value, list | dict) for value in values[:1]):
            raise ValueError(
                f"data.label_column={self.label_column}: {self.path} has more than one label a picture there;"
                " objective=multilabel takes them"
            )
        names = getattr(feature, "names", None)
        return [class_name(names[value] if names else str(value)) for value in values]

    def _several(self, part: str) -> list[list[str]]:
        """Returns the labels of each row in words."""
        data = self._parts()[part]
        return labels_of(data.features[self.label_column], list(data[self.label_column]), self.label_column)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names by index: those of the data set's ClassLabel, else all labels, sorted."""
        if self.expected is not None:
            return tuple(self.expected)
        base, data = next(iter(self._parts().items()))
        if self.targets == "labels":
            return names_of(data.features[self.label_column], self._several(base))
        names = getattr(data.features[self.label_column], "names", None)
        found = list(map(class_name, names)) if names else sorted(set(self._labels(base)), key=in_order)
        if len(found) < 2 and not self.whole:
            raise ValueError(f"{self.origin}: only one class ({listed(found)}); it takes two or more")
        return tuple(found)

    def _list(self) -> dict[str, Listed]:
        number = {name: index for index, name in enumerate(self.class_names)}
        parts = {}
        for part, data in self._parts().items():
            places = Rows.of(part, data, self.image_column)
            if self.targets == "labels":
                targets = one_each(self._several(part), self.class_names, f"{self.origin}: {part}")
                parts[part] = Listed(places, [0] * len(places), targets=targets)
                continue
            words = self._labels(part)
            if unknown := sorted({word for word in words if word not in number}):
                raise ValueError(f"{self.origin}: {listed(unknown)} in {part} are no classes of train")
            parts[part] = Listed(places, [number[word] for word in words])
        return parts

    def _notes(self, opened: Mapping[str, Stored]) -> Iterator[str]:
        yield from (f"{self.origin}: {line}" for line in self._left_out)
        yield from super()._notes(opened)
