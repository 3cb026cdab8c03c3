"""Snow, frost and fog."""

import torch
from torch import Tensor

from vitlab.corruptions.blur import in_motion, zoomed
from vitlab.corruptions.draws import Draws


def plasma(draws: Draws, batch: int, height: int, width: int, decay: float) -> Tensor:
    """Returns clouds from 0 to 1 [batch, height, width] by the diamond-square algorithm, whose detail fades
    by `decay` from one scale to the next."""
    side = 1 << (max(height, width) - 1).bit_length()
    clouds, step, wobble = torch.zeros(batch, side, side), side, 100.0
    while step >= 2:
        half = step // 2

        def wobbled(total: Tensor, wobble: float = wobble) -> Tensor:
            return total / 4 + wobble * draws.uniform(-wobble, wobble, *total.shape[1:])

        corners = clouds[:, ::step, ::step]
        across = corners + corners.roll(-1, 1)
        clouds[:, half::step, half::step] = wobbled(across + across.roll(-1, 2))
        middles, corners = clouds[:, half::step, half::step], clouds[:, ::step, ::step]
        up = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        clouds[:, ::step, half::step] = wobbled(up)
        aside = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        clouds[:, half::step, ::step] = wobbled(aside)
        step, wobble = half, wobble / decay
    low, high = (of(clouds, dim=(1, 2), keepdim=True) for of in (torch.amin, torch.amax))
    return ((clouds - low) / (high - low).clamp_min(1e-12))[:, :height, :width]


def fog(images: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
    """Returns images behind clouds."""
    thickness, decay = strength
    batch, _, height, width = images.shape
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    clouds = plasma(draws, batch, height, width, decay)[:, None]
    return (images + thickness * clouds) * brightest / (brightest + thickness)


def frost(images: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
    """Returns images behind ridges of ice. The authors lay photographs of frost over them, which are not at
    hand here: these ridges are drawn, so numbers for frost compare among models, not with published ones."""
    share, of_frost = strength
    batch, channels, height, width = images.shape
    ridges = 1 - (2 * plasma(draws, batch, height, width, 1.8) - 1).abs()
    ice = 0.25 + 0.75 * ridges**3
    tint = torch.tensor([0.85, 0.93, 1.0]) if channels == 3 else torch.tensor([0.93])
    return share * images + of_frost * ice[:, None] * tint.view(1, -1, 1, 1)


def snow(images: Tensor, strength: tuple[float, ...], draws: Draws) -> Tensor:
    """Returns whitened images with flakes that fall."""
    mean, deviation, zoom, threshold, radius, sigma, share = strength
    height, width = images.shape[2:]
    layer = zoomed(draws.normal(1, height, width) * deviation + mean, zoom)
    layer = torch.where(layer < threshold, 0.0, layer).clamp(0, 1)
    layer = in_motion(layer, int(radius), sigma, draws.uniform(-135, -45))
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    grey = 0.299 * red + 0.587 * green + 0.114 * blue if images.shape[1] == 3 else images
    white = torch.maximum(images, grey * 1.5 + 0.5)
    return share * images + (1 - share) * white + layer + torch.rot90(layer, 2, (2, 3))
