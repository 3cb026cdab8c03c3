"""Weights from the net, into the caches that their own libraries use; each file's hash is checked."""

import hashlib
import http.client
import pickle
import re
from pathlib import Path, PurePosixPath
from typing import Any

import torch


def _by_hand(source: str, error: Exception, advice: str) -> ValueError:
    reason = " ".join(str(error).split()).partition(". ")[0][:160] or type(error).__name__
    return ValueError(f"model.weights={source}: download failed ({reason}); {advice}")


def _check_hash(file: Path, start: str, source: str) -> None:
    """Raises ValueError where a file's sha256 does not start as the name says that it has in its cache."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if not found.startswith(start):
        raise ValueError(
            f"model.weights={source}: {file} is damaged (its sha256 is {found}); remove it, and it is fetched"
            " again"
        )


def fetch_from_hub(repo: str, filename: str, source: str, required: bool = True) -> Path | None:
    """Returns a file of a Hugging Face repository, downloaded unless the hub's cache holds it; None where it
    lacks a file not `required`. Raises ValueError where the file cannot be had."""
    scheme = source.partition(":")[0]
    files = f"the files of https://huggingface.co/{repo}"
    advice = f"check the name, or put {files} into a folder and give {scheme}:FOLDER"
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError
    except ImportError:
        raise ValueError(
            f"model.weights={source}: downloading needs huggingface_hub; pip install 'vitlab[hub]', or give"
            f" {scheme}:FOLDER with the files"
        ) from None
    try:
        path = Path(hf_hub_download(repo, filename))
    # no such file or repository, no network, no possible name
    except (EntryNotFoundError, OSError, ValueError, RuntimeError) as error:
        # without a network a file that was never fetched raises the same; that a repository lacks one, the
        # cache remembers
        is_absent = isinstance(error, EntryNotFoundError) and not required
        if is_absent and try_to_load_from_cache(repo, filename) is not None:
            return None
        raise _by_hand(source, error, advice) from None
    blob = path.resolve()  # a large file is a link to one that is named by its hash
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        _check_hash(blob, blob.name, source)
    return path


def fetch_from_torchvision(weights: Any, source: str) -> dict[str, Any]:
    """Returns torchvision's weights, through torch's cache. Raises ValueError where they cannot be had."""
    file = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(weights.url).name)
    if file.is_file():  # torch checks only what it downloads
        _check_hash(file, file.stem.rpartition("-")[2], source)
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, http.client.HTTPException, pickle.UnpicklingError) as error:
        way = f"put {weights.url} into {file.parent}, or give torchvision:FILE.pth"
        raise _by_hand(source, error, way) from None
