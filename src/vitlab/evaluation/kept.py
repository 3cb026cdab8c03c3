"""What a run's own test was answered, kept in its folder, so that runs can be compared image by image."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vitlab.checkpoint.plain import read_plain
from vitlab.data.image_data import ImageData
from vitlab.evaluation import TEST_ANSWERS
from vitlab.evaluation.answers import Answers
from vitlab.files.atomic import replaced

MOST_NUMBERS = 5_000_000
"""Numbers that are kept, in 20 MB; of more none are."""


class Kept(NamedTuple):
    """Answers in an order that is the same for every run on these images, which images they are, and what the
    objective has learned beside the weights."""

    answers: Answers
    images: str
    learned: Any


def identities(data: ImageData) -> Any:
    """Returns which images the test split has, and their labels, equal for the same at any size."""
    split = data.splits["test"]
    files = split.samples.files
    if files is not None:
        return sorted(zip(files[split.indices].tolist(), split.labels.tolist(), strict=True))
    return data.fingerprint, split.fingerprint()


def in_common_order(data: ImageData, answers: Answers) -> Answers:
    """Returns answers sorted by the images' files, so that those of two models lie side by side."""
    split = data.splits["test"]
    if split.samples.files is None:
        return answers
    files, labels = split.samples.files[split.indices].tolist(), split.labels.tolist()
    order = torch.tensor(sorted(range(len(files)), key=lambda index: (files[index], labels[index])))
    return Answers(answers.outputs[order], answers.labels[order])


def keep_answers(folder: Path, answers: Answers, data: ImageData, learned: Any) -> None:
    """Writes answers to a whole test split, unless they are too many, or the test left images out."""
    file = folder / TEST_ANSWERS
    file.unlink(missing_ok=True)
    if answers.outputs.numel() > MOST_NUMBERS or len(answers.labels) != len(data.splits["test"]):
        return
    images = hashlib.sha256(repr(identities(data)).encode()).hexdigest()
    content = in_common_order(data, answers)._asdict() | {"images": images, "learned": learned}
    with replaced(file) as part:
        torch.save(content, part)


def read_answers(folder: Path) -> Kept | None:
    """Returns what `keep_answers` wrote, None where it wrote nothing. Raises ValueError for anything else."""
    file = folder / TEST_ANSWERS
    if not file.is_file():
        return None
    try:
        found = read_plain(file)
        outputs, labels = found["outputs"], found["labels"]
        if not isinstance(outputs, Tensor) or not isinstance(labels, Tensor) or len(outputs) != len(labels):
            raise ValueError("no answer to each image")
        return Kept(Answers(outputs, labels), str(found["images"]), found["learned"])
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{file} cannot be read ({error}); a test of the run anew would write it") from None
