"""Hashes of images and labels: equal where the pixels, the labels and the class names are, whatever they were read from."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np


def hash_images(images: np.ndarray, labels: np.ndarray) -> str:
    """Returns a hash of uint8 images and their class indices, in their order."""
    content = hashlib.blake2b(np.ascontiguousarray(images).reshape(-1).data, digest_size=16)
    content.update(np.ascontiguousarray(labels, dtype="<i8").data)
    content.update(repr(images.shape).encode())
    return content.hexdigest()


def combine_hashes(class_names: Sequence[str], parts: Mapping[str, str]) -> str:
    """Returns one hash for a source, from its class names and the hash of each part."""
    return hashlib.blake2b(repr((list(class_names), sorted(parts.items()))).encode(), digest_size=16).hexdigest()
