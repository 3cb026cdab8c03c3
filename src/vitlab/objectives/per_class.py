"""What of each class was found: how many images it has, precision, recall, F1 and AUROC, a column each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vitlab.objectives.metrics import f1, precision, recall
from vitlab.objectives.weighted import curves
from vitlab.shapes import Labels, Logits
from vitlab.words import in_cell

COLUMNS = ("images", "precision", "recall", "f1", "auroc")


def per_class(scores: Tensor, said: Tensor, true: Tensor, most: int | None = None) -> dict[str, Tensor]:
    """Returns `COLUMNS` [classes] from scores, what was said and what is true of each image [images,
    classes].

    A class without images has no value but its count, one that was never said no precision, and AUROC needs
    other images too: these are nan. AUROC, which takes a sorting for each class, is measured for the `most`
    classes of the lowest F1 alone, if that is given.
    """
    said, true = said.bool(), true.bool()
    right = (said & true).sum(dim=0).double()
    wrong, missed = said.sum(dim=0) - right, true.sum(dim=0) - right
    rest = len(true) - right - wrong - missed
    counts = true.sum(dim=0)
    there, ever_said = counts > 0, said.any(dim=0)
    each = (right, wrong, rest, missed)
    of_class = f1(*each).where(there, torch.nan)
    chosen = of_class.argsort(stable=True)[:most]
    auroc = torch.full((len(counts),), torch.nan, dtype=torch.float64)
    for index, curve in zip(chosen.tolist(), curves(scores[:, chosen], true[:, chosen]), strict=True):
        if curve is not None:
            auroc[index] = float(curve.auroc(torch.ones(len(true), 1)))
    return {
        "images": counts,
        "precision": precision(*each).where(there & ever_said, torch.nan),
        "recall": recall(*each).where(there, torch.nan),
        "f1": of_class,
        "auroc": auroc,
    }


def of_each_class(logits: Logits, labels: Labels, most: int | None = None) -> dict[str, Tensor]:
    """Returns `COLUMNS` of one label an image."""
    classes = torch.arange(logits.shape[1])
    said, true = (each[:, None] == classes for each in (logits.argmax(dim=1), labels.long()))
    return per_class(logits.float().softmax(dim=1), said, true, most)


def as_rows(columns: dict[str, Tensor], class_names: Sequence[str]) -> list[list[str]]:
    """Returns the rows of a CSV file, its header first; what has no value is empty."""
    numbers = [column for column in columns if column != "images"]
    rows = [["class", "images", *numbers]]
    for index, name in enumerate(class_names):
        values = [float(columns[column][index]) for column in numbers]
        written = ["" if value != value else f"{value:.6f}" for value in values]
        rows.append([in_cell(name), str(int(columns["images"][index])), *written])
    return rows
