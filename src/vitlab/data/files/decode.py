"""From an image file of any make to uint8 pixels: strangers' files come out right or are refused in one line."""

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

from vitlab.data.files import tiff

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # no others: EPS, for one, would run Ghostscript on a stranger's file
MAX_PIXELS = 89_000_000

SIXTEEN_BITS_FROM = 1 << 14
"""A picture of 16 bits whose highest value is below this has no more than 64 of 256 levels."""

LARGE = 1 << 16
"""Pixels of an image above which torch resizes it: in a quarter of Pillow's time, a level off in one pixel of 200, more at the edges."""

DRAFT_SIDES = 3
"""How many times the side that is wanted a JPEG keeps where it is decoded at less than its size: a third of a level is lost."""

Interpolation = Literal["bicubic", "bilinear"]
"""How pictures are resized, always antialiased."""

# Above this size Pillow only warns, once, on its own line; as an error the warning becomes our one line.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def _raw_form(image: Image.Image) -> tuple[str, int]:
    """Returns how the pixels lie in the file, by Pillow's name, and the white that a PGM or PPM names (0: none named)."""
    args = image.tile[0].args if image.tile else None
    raw, *more = args if isinstance(args, tuple) else (args,)
    return str(raw), more[-1] if image.format == "PPM" and more else 0


def _check_range(highest: float, white: int) -> None:
    """Raises ValueError where values in 16 bits end so low that they must have had 10, 12 or 14."""
    if 0 < highest < SIXTEEN_BITS_FROM <= white:
        raise ValueError(
            f"its values end at {highest:,.0f} of {white:,}, as those of 10, 12 or 14 bits in a 16-bit file do: {highest * 255 / white + 1:.0f} "
            "of 256 levels would be left; scale them to the whole range, or save it with 8 bits"
        )


def _to_8_bit(image: Image.Image, raw: str, named_white: int) -> Image.Image:
    """Scales 16-bit grey to 8 bits, where Pillow would clip it to white. Raises ValueError where the range of the values is unknown."""
    is_scaled = 255 < named_white < 65535  # by Pillow, to 16 bits of grey or 8 of each colour
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        pixels, white = np.asarray(image).astype(np.uint32), 4095 if raw == "I;12" else 65535
        if not is_scaled:
            _check_range(int(pixels.max()), white)
        clear = pixels == image.info.get("transparency", -1)
        if image.format == "TIFF" and image.tag_v2.get(tiff.MEANING) == tiff.WHITE_IS_ZERO:  # type: ignore[attr-defined]
            pixels = white - pixels
        levels = (pixels * 255 + white // 2) // white
        return Image.fromarray(np.where(clear, 255, levels).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"{image.mode} pixels (32 bits) have no known range; save it with 8 bits")
    if (";16" in raw or named_white == 65535) and image.mode in ("RGB", "RGBA", "L", "LA"):  # of which Pillow has kept the high bytes
        colours = image.getextrema()[: 1 if image.mode[0] == "L" else 3]
        _check_range(max(highest for _, highest in colours) * 257, 65535)
        if isinstance(clear := image.info.get("transparency"), tuple):
            image.info["transparency"] = tuple(value >> 8 for value in clear)
    return image


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Converts to `mode` ("RGB" or "L"), whatever is transparent laid on white."""
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _reason(path: Path, error: Exception) -> str:
    """Says in a few words what is wrong with a file that Pillow refused."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
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


def read_upright(path: Path, channels: int, at_least: int | None = None) -> Image.Image:
    """Returns the whole image as a viewer shows it, 3 channels (RGB) or 1 (grey): EXIF rotation applied, transparency laid on white.

    Of an animation the first frame counts. A JPEG may come at 1/2, 1/4 or 1/8 of its size where no side falls below `at_least` px.
    Raises ValueError for a file that is damaged, no image, or larger than 89 megapixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels are more than 89 million")
            if image.format == "TIFF":
                tiff.refuse_measurements(image.tag_v2)  # type: ignore[attr-defined]
                tiff.refuse_pages(path, image.tag_v2)  # type: ignore[attr-defined]
            raw, named_white = _raw_form(image)
            if at_least is not None:
                image.draft(None, (at_least, at_least))  # type: ignore[arg-type]  # None: the mode stays
            ImageOps.exif_transpose(image, in_place=True)  # a copy would cost as much as decoding
            image.load()
            if image.format == "TIFF" and image.mode[-1] in "Aa":
                tiff.refuse_band_as_transparency(image)
            return _flatten(_to_8_bit(image, raw, named_white), {1: "L", 3: "RGB"}[channels])
    except Exception as error:  # on damaged bytes Pillow's decoders raise almost anything
        raise ValueError(f"{path}: cannot be used as an image ({_reason(path, error)}); replace the file or remove it") from error


def _shrunk_by_torch(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    """Returns the largest centred part of the shape of `size` (height, width), cut on whole pixels, resized to it."""
    factor = min(image.height / size[0], image.width / size[1])
    rows, columns = max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)
    top, left = (image.height - rows) // 2, (image.width - columns) // 2
    # through DLPack torch takes a read-only array without a warning
    pixels = torch.from_dlpack(np.asarray(image)[top : top + rows, left : left + columns]).view(1, rows, columns, -1)
    return F.interpolate(pixels.permute(0, 3, 1, 2), size, mode=interpolation, antialias=True)[0].contiguous().numpy()


def read_image(path: Path, size: int | tuple[int, int], channels: int, interpolation: Interpolation = "bicubic") -> np.ndarray:
    """Returns `read_upright`'s image as uint8 [channels, height, width]; `size` is (height, width) or a square's side.

    The largest centred part of the right shape is resized to it (antialiased).
    """
    height, width = (size, size) if isinstance(size, int) else size
    image = read_upright(path, channels, at_least=DRAFT_SIDES * max(height, width))
    if image.size != (width, height):
        if image.width * image.height > LARGE:
            return _shrunk_by_torch(image, (height, width), interpolation)
        image = ImageOps.fit(image, (width, height), Image.Resampling[interpolation.upper()])
    pixels = np.array(image)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
