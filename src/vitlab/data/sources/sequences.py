"""Several labels a picture as a list of words or numbers, as Hugging Face's data sets have them."""

from collections.abc import Sequence
from typing import Any

import torch

from vitlab.data.sources.layout import class_name, in_order, listed
from vitlab.shapes import ManyLabels


def _own_names(feature: Any) -> list[str] | None:
    """Returns the names that a feature's numbers stand for, of a sequence those of its items."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def labels_of(feature: Any, values: Sequence[Any], column: str) -> list[list[str]]:
    """Returns the labels of each row in words. Raises ValueError for a row that has no list."""
    names = _own_names(feature)
    for row, value in enumerate(values):
        if not isinstance(value, list | tuple):
            raise ValueError(
                f"data.label_column={column}: row {row} has {value!r}, and a list of labels is due there;"
                " objective=classification takes one label a picture"
            )
    return [[class_name(names[each] if names else str(each)) for each in value] for value in values]


def names_of(feature: Any, rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the names of all labels: the feature's own, else those that are found, sorted."""
    if names := _own_names(feature):
        return tuple(map(class_name, names))
    return tuple(sorted({word for row in rows for word in row}, key=in_order))


def one_each(rows: Sequence[Sequence[str]], names: Sequence[str], origin: str) -> ManyLabels:
    """Returns a 1 for each label that a row has. Raises ValueError for one that is none of `names`."""
    place = {name: index for index, name in enumerate(names)}
    if unknown := sorted({word for row in rows for word in row if word not in place}):
        raise ValueError(f"{origin}: {listed(unknown)} are no labels of train")
    values = torch.zeros(len(rows), len(names), dtype=torch.int8)
    for row, words in enumerate(rows):
        values[row, [place[word] for word in words]] = 1
    return values
