"""From an image file of any make to uint8 pixels: strangers' files come out right or are refused in one line."""

import os
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""What an image file's name ends with, in lower case."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # no others: EPS, for one, would run Ghostscript on a stranger's file
MAX_PIXELS = 89_000_000

Interpolation = Literal["bicubic", "bilinear"]
"""How pictures are resized, always antialiased."""

# Above this size Pillow only warns, once, on its own line; as an error the warning becomes our one line.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def find_images(path: Path) -> list[Path]:
    """Returns `path` itself if it is a file, else the images below it, sorted; hidden ones are left out, links followed once.

    Raises ValueError if there is no image or a folder cannot be read.
    """
    if os.path.isfile(path):
        return [path]

    def fail(error: OSError) -> None:
        raise ValueError(f"{error.filename}: cannot be read ({error.strerror}); give an image or a folder of images") from error

    # A link back to a folder above would lead into the neighbours, and to no end.
    seen = {os.path.realpath(parent) for parent in path.absolute().parents}
    found = []
    for folder, folders, names in os.walk(path, followlinks=True, onerror=fail):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise ValueError(f"{path}: no image found; image files end with {' '.join(sorted(IMAGE_SUFFIXES))}")
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def _to_8_bit(image: Image.Image, file_format: str | None) -> Image.Image:
    """Scales 16-bit grey to 8 bits, where Pillow would clip it to white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        pixels = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"{image.mode} pixels (32 bits) have no known range; save it with 8 bits")
    return image


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Converts to `mode` ("RGB" or "L"), whatever is transparent laid on white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _reason(path: Path, error: Exception) -> str:
    """Says in a few words what is wrong with a file that Pillow refused."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        return "the file is empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or XML instead of pixels"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not one of the formats {', '.join(FORMATS)}"
    return " ".join(str(error).split()) or type(error).__name__


def read_upright(path: Path, channels: int) -> Image.Image:
    """Returns the whole image as a viewer shows it, 3 channels (RGB) or 1 (grey): EXIF rotation applied, transparency laid on white.

    Of an animation the first frame counts. Raises ValueError for a file that is damaged, no image, or larger than 89 megapixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels are more than 89 million")
            upright = ImageOps.exif_transpose(image)
            return _flatten(_to_8_bit(upright, image.format), {1: "L", 3: "RGB"}[channels])
    except Exception as error:  # on damaged bytes Pillow's decoders raise almost anything
        raise ValueError(f"{path}: cannot be used as an image ({_reason(path, error)}); replace the file or remove it") from error


def read_image(path: Path, size: int | tuple[int, int], channels: int, interpolation: Interpolation = "bicubic") -> np.ndarray:
    """Returns `read_upright`'s image as uint8 [channels, height, width]; `size` is (height, width) or a square's side.

    The largest centred part of the right shape is resized to it (antialiased).
    """
    height, width = (size, size) if isinstance(size, int) else size
    image = read_upright(path, channels)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling[interpolation.upper()])
    pixels = np.array(image)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
