"""From 16 bits to 8: white is a fact of a data set, as cameras put 10, 12 or 14 bits into 16."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from vitlab.data.files import tiff

FULL = 65535

WHITES = (255, 1023, 4095, 16383, FULL)
"""The highest values of 8, 10, 12, 14 and 16 bits."""


def white_of(highest: int) -> int:
    """Returns the white of a set of pictures whose highest value is `highest`: 4095 for 3000."""
    return next(white for white in WHITES if highest <= white)


def raw_form(image: ImageFile.ImageFile) -> tuple[str, int]:
    """Returns how an opened file's pixels lie, by Pillow's name, and the white that a PPM names (or 0)."""
    args = image.tile[0].args if image.tile else None
    raw, *more = args if isinstance(args, tuple) else (args,)
    return str(raw), more[-1] if image.format == "PPM" and more else 0


def check_range(highest: int, white: int | None) -> None:
    """Raises ValueError for values above white; without one, for values that need not have had 16 bits."""
    if white is not None and highest > white:
        raise ValueError(
            f"its values go up to {highest:,}, where white is {white:,} in the pictures that the model was"
            " trained on"
        )
    if white is None and 0 < highest <= WHITES[-2]:
        raise ValueError(
            f"its values end at {highest:,} of {FULL:,}, as those of 10, 12 or 14 bits in a 16-bit file do:"
            f" {highest * 255 / FULL + 1:.0f} of 256 levels would be left;"
            f" data.value_range=[0,{white_of(highest)}] would take that for white"
        )


def scaled_to_8_bit(values: np.ndarray, value_range: tuple[float, float]) -> tuple[np.ndarray, bool]:
    """Returns values as uint8, `value_range` as 0..255 and the rest clipped, and whether any had to be."""
    low, high = value_range
    levels = np.floor((values.astype(np.float64) - low) * (255 / (high - low)) + 0.5)
    return np.clip(levels, 0, 255).astype(np.uint8), bool(values.min() < low or values.max() > high)


def _by_range(
    image: Image.Image, raw: str, value_range: tuple[float, float]
) -> tuple[Image.Image, bool] | None:
    """Returns an image of more than 8 bits by its stated range, and whether values lie beyond; None for one
    of 8 bits. Raises ValueError for 16-bit colour, of which Pillow keeps the high bytes."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        levels, beyond = scaled_to_8_bit(values, value_range)
        clear = values == image.info.get("transparency", -1)
        return Image.fromarray(np.where(clear, 255, levels).astype(np.uint8)), beyond
    if ";16" in raw and tuple(value_range) != (0, FULL):
        raise ValueError(
            "16-bit colour in such a file comes without its lower bytes, and data.value_range needs them; a"
            " TIFF or .npy would work"
        )
    return None


class Levels(NamedTuple):
    """An image of 8 bits, the highest value of its 16 (else 0), and whether any was beyond the range."""

    image: Image.Image
    highest: int = 0
    beyond: bool = False


def to_8_bit(
    image: Image.Image,
    raw: str,
    named: int,
    white: int | None,
    value_range: tuple[float, float] | None = None,
) -> Levels:
    """Returns a loaded image with 8 bits a value. `raw` and `named` are its `raw_form`; `white` is the data
    set's, or None for a picture that stands alone. What names its white itself, and what has 8 bits, is not
    asked for `value_range`. Raises ValueError where the range of its values is unknown."""
    is_scaled = 255 < named < FULL  # by Pillow, to 16 bits of grey or 8 of each colour
    if value_range is not None and not is_scaled and (ranged := _by_range(image, raw, value_range)):
        return Levels(ranged[0], 0, ranged[1])
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        pixels = np.asarray(image).astype(np.uint32)
        clear = pixels == image.info.get("transparency", -1)
        highest = 0 if is_scaled or raw == "I;12" else int(pixels.max())
        check_range(highest, white)
        top = FULL if is_scaled else 4095 if raw == "I;12" else white or FULL
        if isinstance(image, TiffImageFile) and image.tag_v2.get(tiff.MEANING) == tiff.WHITE_IS_ZERO:
            pixels = top - pixels
        levels = (pixels * 255 + top // 2) // top
        return Levels(Image.fromarray(np.where(clear, 255, levels).astype(np.uint8)), highest)
    if image.mode in ("I", "F"):
        raise ValueError(
            f"{image.mode} pixels (32 bits) have no known range; data.value_range=[low,high] would give one"
        )
    if (";16" not in raw and named != FULL) or image.mode not in ("RGB", "RGBA", "L", "LA"):
        return Levels(image)
    # Pillow has kept the high bytes
    if isinstance(clear := image.info.get("transparency"), tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    pixels = np.asarray(image)
    highest = 257 * int((pixels[..., :-1] if image.mode[-1] == "A" else pixels).max())
    check_range(highest, None if white is not None and white < FULL else white)
    return Levels(image, highest)
