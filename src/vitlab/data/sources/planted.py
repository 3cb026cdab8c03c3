"""Images whose evidence is known: noise, and the pattern of the class in one patch at random."""

import numpy as np
import torch

from vitlab.data.samples import HeldImages, Samples
from vitlab.data.source import Source
from vitlab.randomness import derive_seed
from vitlab.shapes import Masks

OCTAVES = (8, 4, 2, 1)
"""Sides in pixels of the squares that the background adds up."""


class Planted(Source):
    """Source of `num_images` grey images, part "all", equally many of each class; the same arguments give the
    same bytes.

    A class is a pattern of half light, half dark pixels of `patch_size` squared, added with `contrast`
    (levels of 255) to one patch of the grid. `masks` tells which. Raises ValueError for a patch that does not
    divide the image or is too small to hold patterns.
    """

    def __init__(
        self, image_size: int, patch_size: int, num_classes: int, num_images: int, contrast: int, seed: int
    ):
        if patch_size < 4 or image_size % patch_size:
            sides = [side for side in range(4, image_size + 1) if image_size % side == 0]
            raise ValueError(
                f"data.patch_size={patch_size} does not divide {image_size} px into patches of 4 px or more;"
                f" what does: {sides}"
            )
        if not 0 < contrast <= 127:
            raise ValueError(
                f"data.source.contrast={contrast} is no difference to mid-grey; 1 to 127 would work"
            )
        self.image_size = image_size
        self.stored_size = (image_size, image_size)
        self.patch_size = patch_size
        self.num_classes = num_classes
        self.num_images = num_images
        self.contrast = contrast
        self.seed = seed

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(f"pattern {index}" for index in range(self.num_classes))

    def prepare(self) -> None:
        """Does nothing: images are made when they are loaded."""

    def draws_for(self, purpose: str) -> np.random.Generator:
        """Returns a generator whose draws follow from the seed and a purpose in words."""
        # whole numbers only: every machine makes the same bytes
        return np.random.default_rng(derive_seed(self.seed, "planted", purpose))

    def _places(self) -> np.ndarray:
        """Returns row and column of each image's planted patch."""
        return self.draws_for("places").integers(0, self.image_size // self.patch_size, (self.num_images, 2))

    def patterns(self) -> np.ndarray:
        """Returns each class's pattern of -1 and 1."""
        signs = np.resize(np.array([-1, 1]), (2 * self.num_classes, self.patch_size**2))
        distinct = list(dict.fromkeys(map(tuple, self.draws_for("patterns").permuted(signs, axis=1))))
        return np.array(distinct[: self.num_classes]).reshape(-1, self.patch_size, self.patch_size)

    def own_parts(self) -> set[str]:
        return {"all"}

    def backgrounds(self) -> np.ndarray:
        """Returns the noise of each image as int16 [images, height, width]."""
        size = self.image_size
        draws = self.draws_for("backgrounds")
        images = np.full((self.num_images, size, size), 128, dtype=np.int16)
        for octave in OCTAVES:
            cells = -(-size // octave) + 1
            squares = draws.integers(-20, 21, (self.num_images, cells, cells), dtype=np.int16)
            top, left = draws.integers(0, octave, 2)  # so that squares and patches do not share their borders
            whole = squares.repeat(octave, axis=1).repeat(octave, axis=2)
            images += whole[:, top : top + size, left : left + size]
        return images

    def load(self) -> dict[str, Samples]:
        """Returns all images as one part, "all"."""
        size, side = self.image_size, self.patch_size
        images = self.backgrounds()
        labels = np.arange(self.num_images) % self.num_classes
        patches = images.reshape(self.num_images, size // side, side, size // side, side)
        rows, columns = self._places().T
        added = (self.contrast * self.patterns()[labels]).astype(np.int16)
        patches[np.arange(self.num_images), rows, :, columns] += added
        pixels = images.clip(0, 255).astype(np.uint8)[:, None]
        return {"all": HeldImages(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64)))}

    def masks(self) -> Masks:
        """Returns where the pattern lies, [images, rows, columns] of the grid, in the order of `load`."""
        patches_a_side = self.image_size // self.patch_size
        masks = torch.zeros(self.num_images, patches_a_side, patches_a_side, dtype=torch.bool)
        rows, columns = torch.from_numpy(self._places()).unbind(dim=1)
        masks[torch.arange(self.num_images), rows, columns] = True
        return masks
