"""From an image file of any make to uint8 pixels: strangers' files come out right or are refused in one
line."""

import math
import re
import warnings
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

from vitlab.data.files import tiff
from vitlab.data.files.places import Picture, readable
from vitlab.data.files.sixteen_bits import WHITES, raw_form, to_8_bit

FORMATS = (
    "BMP",
    "GIF",
    "JPEG",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)  # no others: EPS, for one, would run Ghostscript on a stranger's file

MAX_MEGAPIXELS = 89
"""Larger pictures are refused unless more are asked for: in Pillow's memory this many take 0.4 GB."""

MOSTLY = 0.5
"""A band of which a larger share is neither clear nor opaque may be no transparency: cameras' near infrared
comes as a fourth band."""

LARGE = 1 << 16
"""Pixels of an image above which torch resizes it: in a quarter of Pillow's time, a level off in one pixel of
200, more at the edges."""

DRAFT_SIDES = 3
"""How many times the side that is wanted a JPEG keeps where it is decoded at less than its size: a third of a
level is lost."""

Interpolation = Literal["bicubic", "bilinear"]
"""How pictures are resized, always antialiased."""

# Above this size Pillow only warns, once, on its own line; as an error the warning becomes our one line.
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Reading(NamedTuple):
    """What a picture file does not tell: the value that is white in pictures of 16 bits (None: a picture
    stands alone), and how many million pixels are not too many."""

    white: int | None = None
    max_megapixels: int = MAX_MEGAPIXELS


ALONE = Reading()


class SetFacts(NamedTuple):
    """What matters of files to their whole set: the highest value of those of 16 bits, and how many are
    translucent in most places.

    `deep` are the files of 16 bits, `narrow` those of them whose values end where 14 bits or fewer do.
    """

    highest: int = 0
    translucent: int = 0
    deep: int = 0
    narrow: int = 0

    def joined(self, other: "SetFacts") -> "SetFacts":
        counts = (one + more for one, more in zip(self[1:], other[1:], strict=True))
        return SetFacts(max(self.highest, other.highest), *counts)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Converts to `mode` ("RGB" or "L"), whatever is transparent laid on white."""
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _translucent(image: Image.Image) -> float:
    """Returns the share of pixels that are neither clear nor opaque: few in a picture, most where the band
    holds something else."""
    if image.mode[-1] not in "Aa":
        return 0.0
    levels = image.getchannel(image.getbands()[-1]).histogram()
    return sum(levels[1:255]) / sum(levels)


def _too_large(pixels: int, reading: Reading) -> str:
    return (
        f"{pixels:,} pixels are more than {reading.max_megapixels} million;"
        f" data.max_megapixels={math.ceil(pixels / 1e6)} would read it"
    )


def _reason(path: Picture, error: Exception, reading: Reading) -> str:
    """Says in a few words what is wrong with a file that Pillow refused."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError) and (
        number := re.search(r"\d+", str(error))
    ):
        return _too_large(int(number[0]), reading)
    if isinstance(error, Image.UnidentifiedImageError) and (why := tiff.why_not(path)):
        return why
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        return "the file is empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or XML instead of pixels"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not one of the formats {', '.join(FORMATS)}"
    return " ".join(str(error).split()) or type(error).__name__


def _read(
    path: Picture, channels: int, at_least: int | None, reading: Reading
) -> tuple[Image.Image, SetFacts]:
    """Returns `read_upright`'s image, and what of the file matters to its set."""
    try:
        if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit, for this whole process
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, reading.max_megapixels * 1_000_000)
        with Image.open(readable(path), formats=FORMATS) as image:
            if image.width * image.height > reading.max_megapixels * 1_000_000:
                raise ValueError(_too_large(image.width * image.height, reading))
            if image.format == "TIFF":
                tiff.refuse_measurements(image.tag_v2)  # type: ignore[attr-defined]
                tiff.refuse_pages(path, image.tag_v2)  # type: ignore[attr-defined]
            form = raw_form(image)
            if at_least is not None:
                image.draft(None, (at_least, at_least))  # type: ignore[arg-type]  # None: the mode stays
            ImageOps.exif_transpose(image, in_place=True)  # a copy would cost as much as decoding
            image.load()
            translucent = _translucent(image)
            if image.format == "TIFF" and translucent > MOSTLY:
                share = f"{translucent:.0%} of the pixels are neither clear nor opaque"
                raise ValueError(
                    f"its last band is called transparency, but {share}; save it without that band"
                )
            in_8_bits, highest = to_8_bit(image, *form, reading.white)
            return _flatten(in_8_bits, {1: "L", 3: "RGB"}[channels]), SetFacts(
                highest, int(translucent > MOSTLY), int(highest > 0), int(0 < highest <= WHITES[-2])
            )
    except Exception as error:  # on damaged bytes Pillow's decoders raise almost anything
        raise ValueError(
            f"{path}: cannot be used as an image ({_reason(path, error, reading)}); replace the file or"
            " remove it"
        ) from error


def read_upright(
    path: Picture, channels: int, at_least: int | None = None, reading: Reading = ALONE
) -> Image.Image:
    """Returns the whole image as a viewer shows it, 3 channels (RGB) or 1 (grey): EXIF rotation applied,
    transparency laid on white.

    Of an animation the first frame counts. A JPEG may come at 1/2, 1/4 or 1/8 of its size where no side falls
    below `at_least` px. Raises ValueError for a file that is damaged, no image, larger than `reading` allows,
    or of values that have no known range.
    """
    return _read(path, channels, at_least, reading)[0]


def _shrunk_by_torch(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    """Returns the largest centred part of the shape of `size` (height, width), cut on whole pixels, resized
    to it."""
    factor = min(image.height / size[0], image.width / size[1])
    rows, columns = max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)
    top, left = (image.height - rows) // 2, (image.width - columns) // 2
    # through DLPack torch takes a read-only array without a warning
    pixels = torch.from_dlpack(np.asarray(image)[top : top + rows, left : left + columns]).view(
        1, rows, columns, -1
    )
    return (
        F.interpolate(pixels.permute(0, 3, 1, 2), size, mode=interpolation, antialias=True)[0]
        .contiguous()
        .numpy()
    )


def read_with_facts(
    path: Picture,
    size: int | tuple[int, int],
    channels: int,
    interpolation: Interpolation = "bicubic",
    reading: Reading = ALONE,
) -> tuple[np.ndarray, SetFacts]:
    """Returns what `read_image` does, and what of the file matters to its set."""
    height, width = (size, size) if isinstance(size, int) else size
    image, facts = _read(path, channels, DRAFT_SIDES * max(height, width), reading)
    if image.size != (width, height):
        if image.width * image.height > LARGE:
            return _shrunk_by_torch(image, (height, width), interpolation), facts
        image = ImageOps.fit(image, (width, height), Image.Resampling[interpolation.upper()])
    pixels = np.array(image)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1)), facts


def read_image(
    path: Picture,
    size: int | tuple[int, int],
    channels: int,
    interpolation: Interpolation = "bicubic",
    reading: Reading = ALONE,
) -> np.ndarray:
    """Returns `read_upright`'s image as uint8 [channels, height, width]; `size` is (height, width) or a
    square's side.

    The largest centred part of the right shape is resized to it (antialiased).
    """
    return read_with_facts(path, size, channels, interpolation, reading)[0]
