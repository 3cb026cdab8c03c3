"""Where pixels come from: labelled images by index, whatever holds them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from vitlab.data.files.find import as_text
from vitlab.data.files.places import Picture
from vitlab.data.fingerprint import ImageHash
from vitlab.shapes import Pixels, Targets

HASHED_AT_ONCE = 1024
"""Images that are fetched at a time to be hashed."""


class Samples(ABC):
    """Images of one size, each with its class, its labels or its numbers (see `data.targets`). A source of
    one's own writes `fetch`.

    Several processes may fetch at a time (`data.num_workers`), so an object must survive being copied to
    another one. `files` tells for each image the file that it came from, as the first eight bytes of its
    hash; None: from no files.
    """

    measured: int = 10_000
    """Mean and deviation are measured on so many images, which puts them off by about 0.001."""

    groups: Tensor | None = None
    """A whole number an image: those of one group, such as a patient's, stay on one side of a split."""

    weights: Tensor | None = None
    """For each image how much it counts in training, 0 or more; None: all the same."""

    paths: Sequence[Picture] | None = None
    """Where the picture file of each image lies; None where images come from no files of their own."""

    def __init__(self, labels: Targets, size: tuple[int, int, int], files: Tensor | None = None):
        self.labels = labels
        self.size = size
        """Channels, height and width of each image."""
        self.files = files

    def name_of(self, index: int) -> str:
        """Returns what an image is called in a line for people."""
        return as_text(str(self.paths[index])) if self.paths is not None else f"image {index}"

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def fetch(self, indices: Tensor) -> Pixels:
        """Returns these images, in this order: uint8 [batch, channels, height, width]."""

    def fetch_of(self, indices: Tensor, positions: Tensor, number: int) -> tuple[Pixels, Tensor]:
        """Returns the images at these positions of a split, and the places in the split that they come from.
        `indices` are the split's images.

        The places are `positions` themselves, except where a source puts another image of the split in the
        place of an unreadable one. Which image that is follows from the position and from `number`, the
        batch's.
        """
        return self.fetch(indices[positions]), positions

    def fingerprint(self) -> str:
        """Returns a hash of all images and labels."""
        content = ImageHash()
        for indices in torch.arange(len(self)).split(HASHED_AT_ONCE):
            content.update(self.fetch(indices).numpy())
        return content.finish(self.labels.numpy(), (len(self), *self.size))


class HeldImages(Samples):
    """Images that lie in memory, or in a memory-mapped file, as one tensor."""

    def __init__(self, images: Pixels, labels: Targets, files: Tensor | None = None):
        super().__init__(labels, (images.shape[1], images.shape[2], images.shape[3]), files)
        self.images = images

    def fetch(self, indices: Tensor) -> Pixels:
        return self.images.index_select(0, indices)  # 20 times faster than images[...]
