"""Reading tensors from strangers' files: nothing is executed, no other file is taken."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitlab.checkpoint.archive import MoreThanPlain
from vitlab.checkpoint.plain import read_plain
from vitlab.weights.names import State

MOST_UNPACKED = 100
"""Times an npz file's size; weights hardly become shorter when they are packed."""


def first_line(error: Exception) -> str:
    """Returns what an error says, for one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"model.weights: {path} is no file; give the path of one")


def read_safetensors(path: Path) -> State:
    """Returns the tensors of a safetensors file. Raises ValueError where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _require_file(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"model.weights: {path} is cut short or no safetensors file ({first_line(error)}); fetch it again"
        ) from None


def read_torch(path: Path) -> State:
    """Returns what `torch.save` wrote. Raises ValueError where it is missing, damaged or holds more."""
    _require_file(path)
    with path.open("rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80":
        raise ValueError(
            f"model.weights: {path} is a bare pickle, which could run code; as a safetensors file it would be"
            " read"
        )
    if start != b"PK":
        raise ValueError(f"model.weights: {path} is cut short or no file of weights; fetch it again")
    try:
        state = read_plain(path)
    except MoreThanPlain as error:
        what = first_line(error)
        raise ValueError(
            f"model.weights: {path} holds more than tensors ({what}), and that could run code; it is not read"
        ) from None
    except Exception as error:  # a stranger's file may trip any part of a reader
        raise ValueError(f"model.weights: {path} is damaged ({first_line(error)}); fetch it again") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise ValueError(
            f"model.weights: {path} is no state dict (tensors by name); save one with"
            " torch.save(model.state_dict(), ...)"
        )
    return state


def _check_arrays(path: Path) -> None:
    """Raises ValueError where arrays claim to be larger than they are; numpy would make room first."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MOST_UNPACKED * path.stat().st_size:
            raise ValueError("it would unpack to far more than it is long")
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"{member.filename} is of another version")
                read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                shape, _, kind = read(file)
            if not kind.hasobject and math.prod(shape) * kind.itemsize > member.file_size:
                raise ValueError(f"{member.filename} is said to be of shape {list(shape)}, and is shorter")


def read_npz(path: Path) -> State:
    """Returns the arrays of an npz file. Raises ValueError where it is missing, damaged or holds objects."""
    _require_file(path)
    try:
        with path.open("rb") as file:  # numpy leaves a damaged file open
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise ValueError("a single array")
            _check_arrays(path)
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except Exception as error:  # a stranger's file may trip any part of a reader
        reason = f"{first_line(error)}; fetch it again"
        if "bject arrays" in str(error):
            reason = "it holds objects, which could run code"
        raise ValueError(f"model.weights: {path} is no npz file of plain arrays: {reason}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Returns a JSON file that describes weights. Raises ValueError where it is no JSON object."""
    _require_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        what = f"is no JSON file ({first_line(error)}); fetch it again"
        raise ValueError(f"model.weights: {path} {what}") from None
    if not isinstance(content, dict):
        raise ValueError(f"model.weights: {path} is no JSON object; fetch it again")
    return content
