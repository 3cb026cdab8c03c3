"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719): each sample gets its own change from a fixed list."""

import torch
from jaxtyping import Float
from torch import Tensor

from vitlab.data.augment.colour import (
    apply_tables,
    autocontrast,
    brightness,
    contrast,
    equalize,
    posterize,
    saturation,
    sharpness,
    solarize,
)
from vitlab.data.augment.geometry import Matrices, rotation, sample, shearing, translation
from vitlab.shapes import Pixels

NUM_LEVELS = 31
"""Magnitudes run from 0 to 30."""

# Geometry first, then the changes that are tables: what is alike lies together once a batch is sorted by
# operation.
GEOMETRY = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
TABLES = ("brightness", "contrast", "posterize", "solarize", "autocontrast", "equalize")
OPERATIONS = (*GEOMETRY, *TABLES, "saturation", "sharpness", "identity")


def _matrices(
    sign: Float[Tensor, " moved"], blocks: dict[str, slice], strength: float, size: tuple[int, int]
) -> Matrices:
    """Returns each moved sample's matrix, by torchvision's ranges; shears hold the upper left corner."""

    def signed(operation: str, most: float) -> Float[Tensor, " moved"]:
        amount = torch.zeros_like(sign)
        amount[blocks[operation]] = sign[blocks[operation]] * most
        return amount

    height, width = size
    shear_x, shear_y = signed("shear_x", 0.3 * strength), signed("shear_y", 0.3 * strength)
    shift_x = signed("translate_x", int(150 / 331 * width * strength))
    shift_y = signed("translate_y", int(150 / 331 * height * strength))
    move = translation(shift_x - shear_x * height / 2, shift_y - shear_y * width / 2)
    return move @ rotation(signed("rotate", 30 * strength)) @ shearing(shear_x, shear_y)


def rand_augment(pixels: Pixels, draws: Float[Tensor, "batch 2"], magnitude: int) -> Pixels:
    """Returns images changed by one operation each, with torchvision's operations and magnitudes (0 to 30),
    but bilinear. `draws` are uniform: the first chooses the operation, the second its direction."""
    device, size, strength = pixels.device, (pixels.shape[2], pixels.shape[3]), magnitude / (NUM_LEVELS - 1)
    operation = (draws[:, 0] * len(OPERATIONS)).long()
    order = operation.argsort(stable=True)
    ends = operation.bincount(minlength=len(OPERATIONS)).cumsum(0).tolist()
    blocks = {name: slice(start, end) for name, start, end in zip(OPERATIONS, [0, *ends], ends, strict=False)}
    moved, tabled = (
        slice(0, blocks["rotate"].stop),
        slice(blocks["brightness"].start, blocks["equalize"].stop),
    )
    sign = torch.where(draws[order, 1] < 0.5, -1.0, 1.0)
    factor = (1 + 0.9 * strength * sign).to(device, non_blocking=True)
    result = pixels.index_select(0, order.to(device, non_blocking=True))
    part = {name: result[block] for name, block in blocks.items()}
    if moved.stop > 0:
        result[moved] = sample(result[moved], _matrices(sign[moved], blocks, strength, size), size)
    if tabled.stop > tabled.start:
        tables = (
            brightness(factor[blocks["brightness"]]),
            contrast(part["contrast"], factor[blocks["contrast"]]),
            posterize(8 - round(4 * strength), device),
            solarize(255 * (1 - strength), device),
            autocontrast(part["autocontrast"]),
            equalize(part["equalize"]),
        )
        by_name = zip(TABLES, tables, strict=True)
        each = [table.expand(len(part[name]), pixels.shape[1], 256) for name, table in by_name]
        result[tabled] = apply_tables(result[tabled], torch.cat(each))
    result[blocks["saturation"]] = saturation(part["saturation"], factor[blocks["saturation"]])
    result[blocks["sharpness"]] = sharpness(part["sharpness"], factor[blocks["sharpness"]])
    return result.index_select(0, order.argsort().to(device, non_blocking=True))
