"""Made images with several labels each, of which it is known where the evidence of every one lies."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from vitlab.data.samples import HeldImages, Samples
from vitlab.data.sources.planted import Planted


class PlantedLabels(Planted):
    """Source of `num_images` grey images, part "all", the same for the same arguments; an image has each
    label's pattern with probability `share`, in a patch of its own, which `masks` tells."""

    targets = "labels"

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_classes: int,
        num_images: int,
        contrast: int,
        share: float,
        seed: int,
    ):
        super().__init__(image_size, patch_size, num_classes, num_images, contrast, seed)
        if not 0 < share < 1:
            raise ValueError(f"data.source.share={share} must lie above 0 and below 1; 0.3 would work")
        if num_classes > (count := (image_size // patch_size) ** 2):
            raise ValueError(f"data.num_classes={num_classes} labels do not fit on {count} patches")
        self.share = share

    def _labels(self) -> np.ndarray:
        draws = self.draws_for("labels").integers(0, 1000, (self.num_images, self.num_classes))
        return (draws < round(1000 * self.share)).astype(np.int8)

    def _patches(self) -> np.ndarray:
        """Returns the number of the patch that each label would have in each image, all different."""
        count = (self.image_size // self.patch_size) ** 2
        numbers = np.tile(np.arange(count), (self.num_images, 1))
        return self.draws_for("patches").permuted(numbers, axis=1)[:, : self.num_classes]

    def load(self) -> dict[str, Samples]:
        """Returns all images as one part, "all"."""
        size, side = self.image_size, self.patch_size
        images, labels, patterns = self.backgrounds(), self._labels(), self.patterns()
        patches = images.reshape(self.num_images, size // side, side, size // side, side)
        rows, columns = np.divmod(self._patches(), size // side)
        for label in range(self.num_classes):
            has = labels[:, label].nonzero()[0]
            added = (self.contrast * patterns[label]).astype(np.int16)
            patches[has, rows[has, label], :, columns[has, label]] += added
        pixels = images.clip(0, 255).astype(np.uint8)[:, None]
        return {"all": HeldImages(torch.from_numpy(pixels), torch.from_numpy(labels))}

    def masks(self) -> Bool[Tensor, "images labels rows columns"]:  # type: ignore[override]
        """Returns where each label's pattern lies on the grid, if anywhere, in the order of `load`."""
        a_side = self.image_size // self.patch_size
        masks = torch.zeros(self.num_images, self.num_classes, a_side * a_side, dtype=torch.bool)
        masks.scatter_(2, torch.from_numpy(self._patches())[:, :, None], True)
        masks &= torch.from_numpy(self._labels()).bool()[:, :, None]
        return masks.unflatten(2, (a_side, a_side))
