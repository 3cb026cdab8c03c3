"""Reading a checkpoint as plain data: nothing in the file is executed, and a file that is none of ours is refused in one line."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

FORMAT = 1
"""Raised when the layout under the key "vitlab" changes."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Returns the checkpoint's content on the CPU. Raises ValueError naming the file where it is missing, cut short or not vitlab's."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"checkpoint={path} is no file; a run keeps its own under checkpoints/best.ckpt and checkpoints/last.ckpt")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"checkpoint={path} cannot be read: it is cut short or no checkpoint at all; another copy would work")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's message would advise to load it all the same
        raise ValueError(f"checkpoint={path} cannot be read: it holds more than plain data, and that could run code") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"checkpoint={path} cannot be read: it is damaged ({_first(error)})") from None
    if not isinstance(checkpoint, dict) or "vitlab" not in checkpoint or "state_dict" not in checkpoint:
        raise ValueError(f"checkpoint={path} was not written by vitlab: it carries no config; one from `vitlab train` would work")
    if checkpoint["vitlab"].get("format") != FORMAT:
        raise ValueError(f"checkpoint={path} has format {checkpoint['vitlab'].get('format')}, this vitlab reads {FORMAT}")
    return checkpoint


def load_model_weights(model: nn.Module, checkpoint: dict[str, Any], path: str | Path) -> None:
    """Loads the weights under "model." strictly. Raises ValueError where they do not belong to this model."""
    weights = {name.removeprefix("model."): value for name, value in checkpoint["state_dict"].items() if name.startswith("model.")}
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(f"checkpoint={path}: its weights do not fit the model of its own config ({_first(error, skip=1)})") from None


def _first(error: Exception, skip: int = 0) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()][skip:] or [type(error).__name__]
    return lines[0][:120]
