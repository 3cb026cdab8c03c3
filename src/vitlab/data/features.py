"""What a frozen model makes of images: pooled features, computed once and kept in the user's cache folder."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from vitlab.files.lock import only_one
from vitlab.files.whole_folder import whole_folder

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
PROGRESS_SECONDS = 5.0
HEAD = "head"


def _is_in_head(name: str) -> bool:
    return name == HEAD or name.startswith(f"{HEAD}.")


def model_fingerprint(model: nn.Module) -> str:
    """Returns a hash of what features depend on: tensors outside the head, plain attributes of modules."""
    content = hashlib.blake2b(digest_size=16)
    for name, module in model.named_modules():
        if not _is_in_head(name):
            facts = sorted(
                (key, value)
                for key, value in vars(module).items()
                if isinstance(value, bool | int | float | str | tuple | None)
                and not (key.startswith("_") or key == "training")
            )
            content.update(repr((name, type(module).__qualname__, module.extra_repr(), facts)).encode())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not _is_in_head(name):
            content.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
            content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


@torch.no_grad()
def compute_features(
    model: nn.Module,
    fetch: Callable[[Tensor], Tensor],
    count: int,
    batch_size: int,
    precision: Callable[[], AbstractContextManager],
    name: str,
) -> Tensor:
    """Returns the pooled features, float32 [count, features], of the images that `fetch` gives for positions
    from 0 to `count` - 1. Logs every few seconds how far it is. The model works in evaluation mode, and is
    left in the mode it was in. Raises ValueError for a model that has no pooled features."""
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        what = "has no forward_features and forward_head; a VisionTransformer has"
        raise ValueError(f"features: a {type(model).__name__} {what}")
    vit = cast(Any, model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    found: list[Tensor] = []
    reported = time.monotonic()
    for positions in torch.arange(count).split(batch_size):
        with precision():
            features = vit.forward_head(vit.forward_features(fetch(positions)), pre_logits=True)
        found.append(features.float().cpu())
        if time.monotonic() - reported > PROGRESS_SECONDS:
            reported, done = time.monotonic(), int(positions[-1]) + 1
            log.info("features of %s images: %d of %d (%d %%)", name, done, count, 100 * done // count)
    for module, training in modes.items():
        module.training = training
    return torch.cat(found)


def _digest(features: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(features).data, digest_size=16).hexdigest()


def _read(folder: Path, count: int) -> Tensor | None:
    """Opens kept features; damaged ones are removed."""
    if not folder.is_dir():
        return None
    try:
        features = np.load(folder / "features.npy", allow_pickle=False)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        is_sound = features.dtype == np.float32 and features.ndim == 2 and len(features) == count
        if not is_sound or meta["content"] != _digest(features):
            raise ValueError("other content than was written")
        return torch.from_numpy(features)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: damaged features (%s); computing again", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _write(folder: Path, features: np.ndarray, facts: Mapping[str, Any]) -> None:
    meta = json.dumps({"content": _digest(features), **facts}, indent=1)
    with whole_folder(folder) as part:
        np.save(part / "features.npy", features)
        (part / "meta.json").write_text(meta, encoding="utf-8")


def open_features(root: Path, count: int, facts: Mapping[str, Any], compute: Callable[[], Tensor]) -> Tensor:
    """Returns the features kept for these facts, or computes them. Raises ValueError if it cannot write."""
    told = json.dumps([FORMAT_VERSION, dict(facts)], sort_keys=True)
    folder = root / hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
    try:
        with only_one(folder):
            features = _read(folder, count)
            if features is None:
                features = compute()
                _write(folder, features.numpy(), facts)
            return features
    except OSError as error:
        raise ValueError(
            f"features.cache_dir={root}: cannot be written ({error.strerror or error}); name a writable"
            " folder with room"
        ) from error
