"""Maps held against the truth: masks of the object, and mosaics with one cell of the class."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vitlab.randomness import generator_at
from vitlab.shapes import Heatmap, Images, Labels, Masks


def _coverage(heatmaps: Heatmap, masks: Masks) -> Heatmap:
    """Returns how much of each patch lies in the mask, 0 to 1."""
    return F.adaptive_avg_pool2d(masks.float()[:, None], (heatmaps.shape[1], heatmaps.shape[2]))[:, 0]


class Pointing(NamedTuple):
    """The share of images whose map is largest in the mask, and what chance would reach, each with its
    standard error (NaN for one image). `error` is over these images. `chance_error` is that of as many
    throws, each of which hits with a probability of `chance`."""

    share: float
    error: float
    chance: float
    chance_error: float

    @property
    def beats_chance(self) -> bool:
        """Whether the map points there more often than chance, by over two of both errors; false for a single
        image, which has none. A few hits alone have an error of zero, but so have throws at chance."""
        return all(self.share - self.chance > 2 * error for error in (self.error, self.chance_error))


def points_into(heatmaps: Heatmap, masks: Masks) -> Pointing:
    """Returns how often the largest patch lies in the mask by at least half. Of equal largest patches each
    counts as a part. This is the pointing game of Zhang et al. 2016 (arXiv:1608.00507). `masks` are true on
    the object, [batch, height, width] in pixels or patches."""
    hits = (_coverage(heatmaps, masks) >= 0.5).flatten(1)
    largest = (heatmaps == heatmaps.amax(dim=(1, 2), keepdim=True)).flatten(1)
    shares = (hits & largest).sum(dim=1) / largest.sum(dim=1)
    error = shares.std().item() / len(shares) ** 0.5 if len(shares) > 1 else math.nan
    chance = hits.float().mean().item()
    return Pointing(shares.mean().item(), error, chance, math.sqrt(chance * (1 - chance) / len(shares)))


def pointing_game(heatmaps: Heatmap, masks: Masks) -> float:
    """Returns the share of `points_into` alone."""
    return points_into(heatmaps, masks).share


def mass_in_mask(heatmaps: Heatmap, masks: Masks) -> float:
    """Returns the share of the map in the mask, mean of images: of a uniform map the mask's share."""
    return (heatmaps * _coverage(heatmaps, masks)).sum(dim=(1, 2)).mean().item()


class Mosaics(NamedTuple):
    """2 x 2 pictures, the class to ask for, and where it is to be found (in pixels)."""

    images: Images
    targets: Labels
    masks: Masks

    def quarter(self, index: int) -> tuple[slice, slice]:
        """Returns the rows and columns of pixels where the class of one mosaic is to be found."""
        height, width = (side // 2 for side in self.masks.shape[1:])
        top, left = (int(place) for place in self.masks[index].nonzero()[0])
        return slice(top, top + height), slice(left, left + width)


def mosaics(images: Images, labels: Labels, seed: int = 0) -> Mosaics:
    """Returns for each image a mosaic: the image in a random cell and three images of other classes, all
    halved so that the size stays.

    This is the grid pointing game of Böhle et al. 2021 (arXiv:2104.00032): a uniform map has a quarter of its
    mass in the cell. Raises ValueError for images of one class, or with an odd height or width.
    """
    if images.shape[2] % 2 or images.shape[3] % 2:
        raise ValueError(
            f"images of {images.shape[2]} x {images.shape[3]} px cannot be halved; an even height and width"
            " would work"
        )
    if len(labels.unique()) < 2:
        raise ValueError("mosaics need images of at least 2 classes, and all of these are of one")
    small = F.avg_pool2d(images, 2)
    pictures, masks = torch.empty_like(images), torch.zeros(len(images), *images.shape[2:], dtype=torch.bool)
    height, width = small.shape[2:]
    for index, label in enumerate(labels):
        generator = generator_at(seed, "mosaic", index)
        others = (labels != label).nonzero()[:, 0]
        chosen = others[torch.randint(len(others), (4,), generator=generator)]
        cell = int(torch.randint(4, (), generator=generator))
        chosen[cell] = index
        quarters: Tensor = small[chosen]
        pictures[index] = torch.cat(
            [torch.cat([*quarters[:2]], dim=2), torch.cat([*quarters[2:]], dim=2)], dim=1
        )
        row, column = divmod(cell, 2)
        masks[index, row * height : (row + 1) * height, column * width : (column + 1) * width] = True
    return Mosaics(pictures, labels, masks)
