"""From any image file to uint8 pixels: strangers' files come out right or are refused in one line."""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps

from vitlab.data.files import tiff
from vitlab.data.files.band_files import kind_of, read_bands
from vitlab.data.files.bands import Layout, as_colours, to_levels
from vitlab.data.files.fit import Fit, Interpolation, fitted_to
from vitlab.data.files.places import Picture, readable
from vitlab.data.files.sixteen_bits import WHITES, raw_form, to_8_bit
from vitlab.data.files.suffixes import FORMATS, HEIF_SUFFIXES, NPY, WAYS_TO_READ, formats

MAX_MEGAPIXELS = 89
"""Larger pictures are refused unless more are asked for: in Pillow's memory this many take 0.4 GB."""

ORIENTATION = 0x0112
"""EXIF's tag that says which way up a picture is."""

TURNED = (5, 6, 7, 8)
"""Its values for pictures that lie on a side."""

MOSTLY = 0.5
"""A band of which more is neither clear nor opaque may be near infrared and no transparency."""

DRAFT_SIDES = 3
"""How many times the wanted side a JPEG keeps that is decoded smaller: a third of a level is lost."""

# Above this size Pillow only warns, once, on its own line; as an error the warning becomes our one line.
warnings.simplefilter("error", Image.DecompressionBombWarning)


class Reading(NamedTuple):
    """What a picture file does not tell: the value that is white in pictures of 16 bits (None: a picture
    stands alone), how many million pixels are not too many, which values of more than 8 bits are black and
    white (None: not stated), and where the channels of a NumPy array stand (None: as its shape tells)."""

    white: int | None = None
    max_megapixels: int = MAX_MEGAPIXELS
    value_range: tuple[float, float] | None = None
    layout: Layout | None = None


ALONE = Reading()


class SetFacts(NamedTuple):
    """What matters of files to their whole set: the highest value of those of 16 bits, and how many are
    translucent in most places. `deep` are the files of 16 bits, `narrow` those of them whose values end where
    14 bits or fewer do, `beyond` those with values outside the stated range."""

    highest: int = 0
    translucent: int = 0
    deep: int = 0
    narrow: int = 0
    beyond: int = 0

    @classmethod
    def of(cls, highest: int, beyond: bool, translucent: bool = False) -> "SetFacts":
        narrow = 0 < highest <= WHITES[-2]
        return cls(highest, int(translucent), int(highest > 0), int(narrow), int(beyond))

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
    """Returns the share of pixels neither clear nor opaque: most where the band is no transparency."""
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
    is_bomb = isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError)
    if is_bomb and (number := re.search(r"\d+", str(error))):
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
        if way := WAYS_TO_READ.get(path.suffix.lower()):
            return f"{way} would read it"
        return f"not one of the formats {', '.join(FORMATS)}"
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def naming(path: Picture, reading: Reading) -> Iterator[None]:
    """Makes one line, which names the file, of whatever goes wrong while it is read."""
    try:
        yield
    except Exception as error:  # on damaged bytes decoders raise almost anything
        raise ValueError(
            f"{path}: cannot be used as an image ({_reason(path, error, reading)}); replace the file or"
            " remove it"
        ) from error


def _open(path: Picture, reading: Reading) -> ImageFile.ImageFile:
    """Returns a file as Pillow opens it, to be closed."""
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit, for this whole process
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, reading.max_megapixels * 1_000_000)
    return Image.open(readable(path), formats=formats() if path.suffix.lower() in HEIF_SUFFIXES else FORMATS)


def _check_opened(image: ImageFile.ImageFile, path: Picture, reading: Reading) -> None:
    """Raises ValueError for what can be seen of a file without its pixels."""
    if image.width * image.height > reading.max_megapixels * 1_000_000:
        raise ValueError(_too_large(image.width * image.height, reading))
    if image.format == "TIFF":
        tiff.refuse_measurements(image.tag_v2)  # type: ignore[attr-defined]
        tiff.refuse_pages(path, image.tag_v2)  # type: ignore[attr-defined]


def _read(
    path: Picture, channels: int, at_least: int | None, reading: Reading
) -> tuple[Image.Image, SetFacts]:
    """Returns the whole image as a viewer shows it, with 3 channels (RGB) or 1 (grey), and what of the file
    matters to its set.

    EXIF's rotation is applied, and transparency laid on white. Of an animation the first frame counts. A JPEG
    comes at 1/2, 1/4 or 1/8 of its size where no side falls below `at_least` px; None: at its whole size.
    Raises ValueError for a file that is damaged, no image, larger than `reading` allows, or of values that
    have no known range.
    """
    with naming(path, reading), _open(path, reading) as image:
        _check_opened(image, path, reading)
        form = raw_form(image)
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # type: ignore[arg-type]  # None: the mode stays
        ImageOps.exif_transpose(image, in_place=True)  # a copy would cost as much as decoding
        image.load()
        translucent = _translucent(image)
        if image.format == "TIFF" and translucent > MOSTLY:
            share = f"{translucent:.0%} of the pixels are neither clear nor opaque"
            way = "data.in_channels=4 would take it for a band"
            raise ValueError(f"its last band is called transparency, but {share}; {way}")
        levels = to_8_bit(image, *form, reading.white, reading.value_range)
        facts = SetFacts.of(levels.highest, levels.beyond, translucent > MOSTLY)
        return _flatten(levels.image, {1: "L", 3: "RGB"}[channels]), facts


def _is_measured(path: Picture, channels: int, reading: Reading) -> bool:
    """Tells whether a file is read as bands of numbers: by their number, by its kind, or because their range
    is stated and Pillow would not keep it."""
    if channels not in (1, 3) or path.suffix.lower() == NPY:
        return True
    return reading.value_range is not None and tiff.is_deep(path)


def _read_measured(path: Picture, channels: int, reading: Reading) -> tuple[np.ndarray, SetFacts]:
    """Returns a file's bands as uint8 [height, width, channels], and what of it matters to its set."""
    with naming(path, reading):
        values = read_bands(path, kind_of(path), channels, reading.layout, reading.max_megapixels)
        levels, highest, beyond = to_levels(values, reading.value_range, reading.white)
        return levels, SetFacts.of(highest, beyond)


def read_pixels(path: Picture, channels: int, reading: Reading, at_least: int | None = None) -> np.ndarray:
    """Returns the whole upright picture as uint8 [height, width, channels]; a JPEG may come smaller where no
    side falls below `at_least` px. Raises ValueError for a file that cannot be used."""
    if _is_measured(path, channels, reading):
        return _read_measured(path, channels, reading)[0]
    pixels = np.asarray(_read(path, channels, at_least, reading)[0])
    return pixels[..., None] if pixels.ndim == 2 else pixels


def upright_size(path: Picture, channels: int, reading: Reading) -> tuple[int, int]:
    """Returns a picture's height and width as a viewer shows it. Raises ValueError for what is no image."""
    if _is_measured(path, channels, reading):
        height, width, _ = _read_measured(path, channels, reading)[0].shape
        return height, width
    with naming(path, reading), _open(path, reading) as image:
        _check_opened(image, path, reading)
        is_turned = image.getexif().get(ORIENTATION, 1) in TURNED
        return (image.width, image.height) if is_turned else (image.height, image.width)


def read_as_people_see_it(
    path: Picture, channels: int, shown_bands: Sequence[int] | None = None, reading: Reading = ALONE
) -> np.ndarray:
    """Returns the whole picture as uint8 [height, width, 3]; of one with other than 1 or 3 channels these
    bands are red, green and blue. Raises ValueError for a file that cannot be used."""
    if not _is_measured(path, channels, reading):
        return np.array(_read(path, 3, None, reading)[0])
    return as_colours(_read_measured(path, channels, reading)[0], shown_bands)


def read_with_facts(
    path: Picture,
    size: int | tuple[int, int],
    channels: int,
    interpolation: Interpolation = "bicubic",
    reading: Reading = ALONE,
    fit: Fit = "crop",
) -> tuple[np.ndarray, SetFacts]:
    """Returns what `read_image` does, and what of the file matters to its set."""
    height, width = (size, size) if isinstance(size, int) else size
    if _is_measured(path, channels, reading):
        image, facts = _read_measured(path, channels, reading)
    else:
        image, facts = _read(path, channels, DRAFT_SIDES * max(height, width), reading)
    return fitted_to(image, (height, width), interpolation, fit), facts


def read_image(
    path: Picture,
    size: int | tuple[int, int],
    channels: int,
    interpolation: Interpolation = "bicubic",
    reading: Reading = ALONE,
    fit: Fit = "crop",
) -> np.ndarray:
    """Returns a picture as uint8 [channels, height, width], upright; `size` is (height, width) or a square's
    side. As `fit` says, the largest centred part of the right shape is resized to it (antialiased), or all of
    it. With channels other than 1 or 3 the file is TIFF or .npy, and its bands come as they are."""
    return read_with_facts(path, size, channels, interpolation, reading, fit)[0]
