"""Files of Google's ViTs."""

from dataclasses import replace
from pathlib import Path

from vitlab.weights import names
from vitlab.weights.facts import Pretrained
from vitlab.weights.files import read_npz
from vitlab.weights.preprocessing import TheirPreprocessing
from vitlab.weights.readers.in_common import NORM_EPS, pretrained_of


def read_jax(path: Path, source: str) -> Pretrained:
    """Reads an npz of Google's ViT, whose images were resized bilinearly and scaled to -1 to 1."""
    arrays = read_npz(path)
    state = names.from_jax(arrays)
    query = next(
        (
            value
            for name, value in arrays.items()
            if name.endswith("MultiHeadDotProductAttention_1/query/kernel")
        ),
        None,
    )
    known = {
        "num_heads": query.shape[1] if query is not None and query.ndim == 3 else None,
        "norm_eps": NORM_EPS,
    }
    unusable = (
        "in its file a layer stands before it (pre_logits), which vitlab lacks"
        if "pre_logits.fc.weight" in state
        else None
    )
    read = pretrained_of(source, state, known, unusable_head=unusable)
    size = read.architecture.get("image_size")
    return (
        read
        if size is None
        else replace(
            read, preprocessing=TheirPreprocessing(size, 1.0, "bilinear", [0.5] * 3, [0.5] * 3, "squash")
        )
    )
