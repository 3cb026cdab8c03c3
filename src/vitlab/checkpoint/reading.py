"""Reads a checkpoint as plain data: nothing in it is executed, and any other file is refused in a line."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitlab.checkpoint.archive import MoreThanPlain
from vitlab.checkpoint.card import FORMAT, Card
from vitlab.checkpoint.plain import read_plain
from vitlab.files.sealed import is_sealed


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Returns the checkpoint's content on the CPU, with its `Card` under "card". Raises ValueError that names
    the file where it is missing, cut short or not vitlab's."""
    path = Path(path)
    try:
        if not path.is_file():
            raise ValueError(
                f"checkpoint={path} is no file; a run keeps its own under checkpoints/best.ckpt and"
                " checkpoints/last.ckpt"
            )
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
    except OSError as error:
        raise ValueError(f"checkpoint={path} cannot be read ({error.strerror or _first(error)})") from None
    if not is_archive:
        raise ValueError(
            f"checkpoint={path} cannot be read: it is cut short or no checkpoint at all; another copy would"
            " work"
        )
    try:
        is_sealed(path)
        checkpoint = read_plain(path)
    except MoreThanPlain as error:
        what = _first(error)
        raise ValueError(
            f"checkpoint={path} cannot be read: it holds more than plain data and dense tensors ({what}), and"
            " that could run code"
        ) from None
    except (
        Exception
    ) as error:  # any fault of a reader is a damaged file, and a run goes on from the one before
        raise ValueError(
            f"checkpoint={path} cannot be read: it is damaged or cut short ({_first(error)}); another copy"
            " would work"
        ) from None
    for key, what in {"vitlab": "config", "state_dict": "weights"}.items():
        part = checkpoint.get(key) if isinstance(checkpoint, dict) else None
        if not isinstance(part, dict) or not all(isinstance(name, str) for name in part):
            raise ValueError(
                f"checkpoint={path} was not written by vitlab: it carries no {what}; one from `vitlab train`"
                " would work"
            )
    if checkpoint["vitlab"].get("format") != FORMAT:
        known = checkpoint["vitlab"].get("format")
        what = "an earlier vitlab wrote it, before 0.1.0" if known in (1, 2) else "another vitlab wrote it"
        raise ValueError(
            f"checkpoint={path} has format {known}, and this vitlab reads {FORMAT}: {what}; train it again"
        )
    try:
        checkpoint["card"] = Card.from_plain(checkpoint["vitlab"])
    except ValueError as error:
        raise ValueError(
            f"checkpoint={path}: its {error} is not what `vitlab train` writes; another copy would work"
        ) from None
    return checkpoint


def load_model_weights(model: nn.Module, checkpoint: dict[str, Any], path: str | Path) -> None:
    """Loads the weights under "model." strictly. Raises ValueError where they do not belong to this model."""
    weights = {
        name.removeprefix("model."): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }
    for name, own in model.state_dict().items():
        value = weights.get(name, own)
        if isinstance(value, Tensor) and value.is_floating_point() != own.is_floating_point():
            raise ValueError(
                f"checkpoint={path}: {name} is of {value.dtype}, which is no number of this model's; another"
                " copy would work"
            )
        if isinstance(value, Tensor) and not value.isfinite().all():
            raise ValueError(
                f"checkpoint={path}: {name} holds numbers that are not finite; another checkpoint would work"
            )
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"checkpoint={path}: its weights do not fit the model of its own config ({_first(error, skip=1)})"
        ) from None


def _first(error: Exception, skip: int = 0) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()][skip:] or [
        type(error).__name__
    ]
    return lines[0][:120]
