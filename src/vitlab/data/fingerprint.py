"""Hashes of images and labels: equal where pixels, labels and class names are, wherever read from."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np


class ImageHash:
    """`hash_images` of images that come one after the other."""

    def __init__(self) -> None:
        self.content = hashlib.blake2b(digest_size=16)

    def update(self, pixels: np.ndarray) -> None:
        """Takes the next image, or several."""
        self.content.update(np.ascontiguousarray(pixels).reshape(-1).data)

    def finish(self, labels: np.ndarray, shape: tuple[int, ...]) -> str:
        """Returns the hash of all images, which together have this shape."""
        kind = "<f8" if labels.dtype.kind == "f" else "<i8"
        self.content.update(np.ascontiguousarray(labels, dtype=kind).data)
        self.content.update(repr(shape).encode())
        return self.content.hexdigest()


def hash_images(images: np.ndarray, labels: np.ndarray) -> str:
    """Returns a hash of uint8 images and their class indices, in their order."""
    content = ImageHash()
    content.update(images)
    return content.finish(labels, images.shape)


LISTING, FILES = "listing:", "files:"
"""What a hash begins with that was made of names, sizes and times, or of bytes; without, of pixels."""

KINDS = {LISTING: "names, sizes and times of files", FILES: "bytes of files", "": "pixels"}


def _kind(hashed: str) -> str:
    return next(kind for kind in KINDS if hashed.startswith(kind))


def hashed_what(fingerprint: str) -> str:
    """Returns in words what a fingerprint was made of."""
    return KINDS[_kind(fingerprint)]


def combine_hashes(class_names: Sequence[str], parts: Mapping[str, str]) -> str:
    """Returns one hash for a source, of class names and parts; it begins as the least of the parts'."""
    told = repr((list(class_names), sorted(parts.items())))
    of_all = hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
    kinds = {_kind(hashed) for hashed in parts.values()}
    return next(kind for kind in KINDS if kind in kinds) + of_all
