"""Colour changes with a parameter for each sample, on bytes; each equals torchvision's of the same name,
sample by sample.

A change that looks at one pixel at a time is a table: the new level for each of the 256 old ones, for each
sample and channel (or one for all channels). Tables are small, so different changes for different samples are
applied in one step.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vitlab.shapes import Pixels

Factor = Float[Tensor, " batch"]
"""1 leaves the image as it is, 0 takes the property away, above 1 exaggerates it."""

Table = UInt8[Tensor, "batch #channels 256"]


def _levels(device: torch.device) -> Float[Tensor, "256"]:
    return torch.arange(256, dtype=torch.float32, device=device)


def _blend(away: Tensor, towards: Tensor, factor: Factor) -> Tensor:
    """Returns bytes on the line from `away` (factor 0) through `towards` (factor 1)."""
    factor = factor.view(-1, *[1] * (towards.dim() - 1))
    return torch.addcmul(towards * factor, away, 1 - factor).clamp_(0, 255).to(torch.uint8)


def _grey(pixels: Pixels) -> Float[Tensor, "batch 1 height width"]:
    """Returns the brightness as whole levels, by the weights of ITU-R BT.601."""
    if pixels.shape[1] == 1:
        return pixels.float()
    red, green, blue = pixels.unbind(1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_().unsqueeze(1)


def apply_tables(pixels: Pixels, table: Table) -> Pixels:
    """Returns each pixel's new level."""
    table = table.expand(-1, pixels.shape[1], -1)
    return table.gather(2, pixels.flatten(2).long()).view_as(pixels)


def brightness(factor: Factor) -> Table:
    """Returns the tables that multiply every level."""
    return (_levels(factor.device) * factor.view(-1, 1, 1)).clamp_(0, 255).to(torch.uint8)


def contrast(pixels: Pixels, factor: Factor) -> Table:
    """Returns the tables that scale the distance from the image's mean brightness."""
    mean = _grey(pixels).mean(dim=(1, 2, 3)).view(-1, 1, 1)
    return _blend(mean, _levels(pixels.device).expand(len(pixels), 1, 256), factor)


def posterize(bits: int, device: torch.device) -> Table:
    """Returns the table that keeps each level's highest `bits` bits."""
    mask = 256 - (1 << (8 - bits))
    return (torch.arange(256, device=device) & mask).to(torch.uint8).view(1, 1, 256)


def solarize(threshold: float, device: torch.device) -> Table:
    """Returns the table that inverts levels from `threshold` (0 to 255) up."""
    levels = _levels(device)
    return torch.where(levels >= threshold, 255 - levels, levels).to(torch.uint8).view(1, 1, 256)


def autocontrast(pixels: Pixels) -> Table:
    """Returns the tables that stretch each channel to the whole range; a channel of one level stays."""
    low, high = pixels.amin((2, 3)).float()[..., None], pixels.amax((2, 3)).float()[..., None]
    flat = high == low
    low, span = low.masked_fill(flat, 0.0), ((high - low) * (1 / 255)).masked_fill(flat, 1.0)
    return ((_levels(pixels.device) - low) / span).clamp_(0, 255).to(torch.uint8)


def equalize(pixels: Pixels) -> Table:
    """Returns the tables that spread each channel's levels evenly, as Pillow's `ImageOps.equalize` does."""
    levels = pixels.flatten(2).long()
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int32, device=pixels.device)
    counts.scatter_add_(2, levels, counts.new_ones(()).expand_as(levels))
    below = counts.cumsum(2, dtype=torch.int32) - counts
    step = (levels.shape[2] - counts.gather(2, levels.amax(2, keepdim=True))) // 255
    spread = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    same = torch.arange(256, dtype=torch.int32, device=pixels.device)
    return torch.where(step > 0, spread, same).to(torch.uint8)


def saturation(pixels: Pixels, factor: Factor) -> Pixels:
    """Returns images with the distance of each pixel from its grey scaled; grey images stay."""
    return pixels if pixels.shape[1] == 1 else _blend(_grey(pixels), pixels, factor)


def sharpness(pixels: Pixels, factor: Factor) -> Pixels:
    """Returns images with each pixel's distance from its neighbourhood's mean scaled; the border stays."""
    if min(pixels.shape[2:]) < 3:
        return pixels
    levels = pixels.float()
    centre, rows = levels[..., 1:-1, 1:-1], levels[..., :-2, :] + levels[..., 1:-1, :] + levels[..., 2:, :]
    # A pixel counts five times and its eight neighbours once.
    smooth = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * centre).div_(13).round_()
    levels[..., 1:-1, 1:-1] = torch.addcmul(centre, smooth - centre, 1 - factor.view(-1, 1, 1, 1)).clamp_(
        0, 255
    )
    return levels.to(torch.uint8)
