"""Noise, light, and what files and screens do to a picture."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vitlab.corruptions.blur import gaussian
from vitlab.corruptions.draws import Draws


def gaussian_noise(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Adds normal noise."""
    return images + strength * draws.normal(*images.shape[1:])


def shot_noise(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Counts as many photons as a dark scene has."""
    return draws.poisson(images * strength) / strength


def impulse_noise(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Makes a share of all values black or white."""
    chance = draws.uniform(0, 1, *images.shape[1:])
    images = torch.where(chance < strength / 2, 1.0, images)
    return torch.where(chance > 1 - strength / 2, 0.0, images)


def brightness(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Raises the value of each colour, hue and saturation as they are."""
    value = images.amax(dim=1, keepdim=True)
    lighter = (value + strength).clamp(0, 1)
    return torch.where(value > 0, images * lighter / value.clamp_min(1e-6), lighter)


def contrast(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Brings all values nearer to the mean of their channel."""
    means = images.mean(dim=(2, 3), keepdim=True)
    return (images - means) * strength + means


def _sampled(images: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    height, width = images.shape[2:]
    grid = torch.stack([2 * columns / max(1, width - 1) - 1, 2 * rows / max(1, height - 1) - 1], dim=3)
    return F.grid_sample(images, grid, "bilinear", "reflection", align_corners=True)


def elastic(images: Tensor, strength: tuple[float, float, float], draws: Draws) -> Tensor:
    """Bends images: three points move, and waves go through them."""
    batch, _, height, width = images.shape
    side = min(height, width)
    reach, sigma, corner = (each * (244 if side >= 128 else side) for each in strength)  # 244 as published
    middle, third = torch.tensor([width // 2, height // 2]).float(), side // 3
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    before = (middle + third * signs).expand(batch, 3, 2)
    after = before + draws.uniform(-corner, corner, 3, 2)
    ones = torch.ones(batch, 3, 1)
    back = torch.linalg.lstsq(torch.cat([after, ones], dim=2), before).solution  # [batch, 3, 2]
    sides = torch.arange(height).float(), torch.arange(width).float()
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    here = torch.stack([columns, rows, torch.ones_like(rows)], dim=2)
    there = torch.einsum("hwi,bio->bhwo", here, back)
    images = _sampled(images, there[..., 0], there[..., 1])
    waves = draws.uniform(-1, 1, 2, height, width)
    if sigma:
        waves = gaussian(waves, sigma, truncate=3.0, edge="reflect")
    waves = waves * reach
    return _sampled(images, columns + waves[:, 0], rows + waves[:, 1])


def by_pillow(images: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Returns images [batch, 1 or 3 channels, height, width] from 0 to 1 as Pillow changes each."""
    changed = []
    for pixels in (images * 255).round().byte().permute(0, 2, 3, 1).numpy():
        picture = change(Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
        changed.append(np.asarray(picture).reshape(pixels.shape))
    return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2).float() / 255


def jpeg(images: Tensor, quality: int, draws: Draws | None = None) -> Tensor:
    """Writes images as JPEG and reads them."""

    def change(picture: Image.Image) -> Image.Image:
        file = BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return by_pillow(images, change)


def smaller(images: Tensor, share: float, draws: Draws | None = None) -> Tensor:
    """Makes images a share of their size, and large again, both by boxes of pixels."""

    def change(picture: Image.Image) -> Image.Image:
        width, height = (max(1, int(side * share)) for side in picture.size)
        return picture.resize((width, height), Image.Resampling.BOX).resize(
            picture.size, Image.Resampling.BOX
        )

    return by_pillow(images, change)


def resized(images: Tensor, share: float, draws: Draws | None = None) -> Tensor:
    """Makes images a share of their size, and large again, both smoothly."""

    def change(picture: Image.Image) -> Image.Image:
        width, height = (max(1, round(side * share)) for side in picture.size)
        small = picture.resize((width, height), Image.Resampling.BICUBIC)
        return small.resize(picture.size, Image.Resampling.BICUBIC)

    return by_pillow(images, change)
