"""Reading tensors from strangers' files: nothing in them is executed, and a file that is none is refused in one line."""

import json
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitlab.weights.names import State


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
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"model.weights: {path} is cut short or no safetensors file ({first_line(error)}); fetch it again") from None


def read_torch(path: Path) -> State:
    """Returns the state dict that `torch.save` wrote. Raises ValueError where the file is missing, damaged or holds more."""
    _require_file(path)
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            start = file.read(2)
        if start[:1] == b"\x80":
            raise ValueError(f"model.weights: {path} is a bare pickle, which could run code; as a safetensors file it would be read")
        raise ValueError(f"model.weights: {path} is cut short or no file of weights; fetch it again")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's message would advise to load it all the same
        raise ValueError(f"model.weights: {path} holds more than tensors, and that could run code; it is not read") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"model.weights: {path} is damaged ({first_line(error)}); fetch it again") from None
    if not isinstance(state, dict) or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise ValueError(f"model.weights: {path} is no state dict (tensors by name); save one with torch.save(model.state_dict(), ...)")
    return state


def read_npz(path: Path) -> State:
    """Returns the arrays of an npz file. Raises ValueError where it is missing, damaged or holds objects."""
    _require_file(path)
    try:
        with path.open("rb") as file:  # numpy leaves a damaged file open
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds objects, which could run code" if "bject arrays" in str(error) else f"{first_line(error)}; fetch it again"
        raise ValueError(f"model.weights: {path} is no npz file of plain arrays: {reason}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file that describes weights. Raises ValueError where it is missing or no JSON object."""
    _require_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"model.weights: {path} is no JSON file ({first_line(error)}); fetch it again") from None
    if not isinstance(content, dict):
        raise ValueError(f"model.weights: {path} is no JSON object; fetch it again")
    return content
