"""Views of stored images: random crops with flips, centred views, and from bytes to what a model sees."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from vitlab.shapes import Images, Pixels

Places = Int[Tensor, " batch"]


def _reflected(start: Places, length: int, side: int) -> Int[Tensor, "batch {length}"]:
    """Returns the pixels on show from `length` places at `start`; those outside 0..side-1 are mirrored."""
    place = (start[:, None] + torch.arange(length, device=start.device)).abs()
    return side - 1 - (side - 1 - place).abs()


def crops_by_copy(
    pixels: Pixels,
    top: Places,
    left: Places,
    flip: Bool[Tensor, " batch"],
    size: tuple[int, int],
    padding: int,
) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """The kernel of `random_crop_flip` for a CPU, where copying a row is as quick as looking up one pixel."""
    batch, channels, height, width = pixels.shape
    # Between its mirror images, a row holds each crop of itself as one run of bytes: padding is read across
    # the seams, a flip from the mirror image. Crops are then rows picked from the table of all runs, which
    # overlap in memory.
    mirrored = pixels.flip(-1)
    before, after = mirrored[..., width - 1 - padding : -1], pixels[..., 1 : padding + 1]
    lines = torch.cat([before, pixels, mirrored[..., 1:], after], dim=-1).contiguous()
    runs = lines.as_strided((lines.numel() - size[1] + 1, size[1]), (1, 1))

    column = torch.where(flip, 2 * (width + padding) - 1 - size[1] - left, left)
    plane = torch.arange(batch * channels).view(batch, channels, 1) * (height * lines.shape[-1])
    index = plane + (_reflected(top - padding, size[0], height) * lines.shape[-1] + column[:, None])[:, None]
    return runs.index_select(0, index.view(-1)).view(batch, channels, *size)


def crops_by_gather(
    pixels: Pixels,
    top: Places,
    left: Places,
    flip: Bool[Tensor, " batch"],
    size: tuple[int, int],
    padding: int,
) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """The kernel of `random_crop_flip` for an accelerator: every pixel looked up at once."""
    batch, channels, height, width = pixels.shape
    row, column = _reflected(top - padding, size[0], height), _reflected(left - padding, size[1], width)
    column = torch.where(flip[:, None], column.flip(-1), column)
    index = (row[:, :, None] * width + column[:, None]).view(batch, 1, -1)
    return pixels.flatten(2).gather(2, index.expand(-1, channels, -1)).view(batch, channels, *size)


def random_crop_flip(
    pixels: Pixels,
    top: Places,
    left: Places,
    flip: Bool[Tensor, " batch"],
    size: tuple[int, int],
    padding: int,
) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """Returns each image's own crop of `size` (height, width), mirrored where `flip`; `top` and `left` count
    from the corner of the image padded by reflection, by `padding` below its height and width."""
    top, left, flip = (draw.to(pixels.device, non_blocking=True) for draw in (top, left, flip))
    kernel = crops_by_copy if pixels.device.type == "cpu" else crops_by_gather
    return kernel(pixels, top, left, flip, size, padding)


def upside_down(pixels: Pixels, chosen: Bool[Tensor, " batch"]) -> Pixels:
    """Returns images, the `chosen` ones upside down; `chosen` lies on the CPU."""
    places = chosen.nonzero().flatten().to(pixels.device, non_blocking=True)
    return pixels.index_copy(0, places, pixels.index_select(0, places).flip(2))


def quarter_turned(pixels: Pixels, turns: Places) -> Pixels:
    """Returns square images, each turned to the left by its number of quarter turns, 0 to 3."""
    result = pixels.clone()
    for count in (1, 2, 3):
        chosen = (turns == count).nonzero().flatten()
        result[chosen] = pixels[chosen].rot90(count, (2, 3))
    return result


def fitted(stored: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Returns the height and width to cut out of stored images: `size`, or its shape as large as fits."""
    factor = max(1.0, size[0] / stored[0], size[1] / stored[1])
    return round(size[0] / factor), round(size[1] / factor)


def enlarged(pixels: Pixels, size: tuple[int, int]) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """Returns the images at `size` (height, width), by bicubic interpolation rounded to whole levels."""
    if pixels.shape[2:] == size:
        return pixels
    resized = F.interpolate(pixels.float(), size, mode="bicubic", antialias=True, align_corners=False)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def centre_view(pixels: Pixels, size: tuple[int, int]) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
    """Returns each image's centre at `size`: cut out of larger images, smaller ones are enlarged."""
    height, width = fitted((pixels.shape[2], pixels.shape[3]), size)
    top, left = (pixels.shape[2] - height) // 2, (pixels.shape[3] - width) // 2
    return enlarged(pixels[:, :, top : top + height, left : left + width], size)


@lru_cache(maxsize=16)
def _scale_and_offset(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    deviation = torch.tensor(std, dtype=torch.float64).view(-1, 1, 1)
    offset = -torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1) / deviation
    return (1 / (255 * deviation)).float().to(device), offset.float().to(device)


def normalise(pixels: Pixels, mean: Sequence[float], std: Sequence[float]) -> Images:
    """Returns what a model sees; `mean` and `std` are per channel, of levels scaled to 0..1."""
    scale, offset = _scale_and_offset(tuple(mean), tuple(std), pixels.device)
    # NumPy asks for huge pages: a large batch of photographs costs a third of what it costs in memory of
    # torch's own
    on_cpu = pixels.device.type == "cpu"
    images = (
        torch.from_numpy(np.empty(pixels.shape, np.float32))
        if on_cpu
        else torch.empty_like(pixels, dtype=torch.float32)
    )
    return images.copy_(pixels).mul_(scale).add_(offset)
