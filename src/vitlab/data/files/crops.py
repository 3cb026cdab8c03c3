"""Random crops of original picture files: no pixel is decoded or resized that a crop does not need."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vitlab.data.augment.boxes import CROP_ASPECT, random_boxes
from vitlab.data.files.decode import ORIENTATION, Reading, naming, read_pixels, upright_size
from vitlab.data.files.fit import Size
from vitlab.data.files.places import Picture

try:  # 1.4 times as fast as Pillow, to the same pixels; whatever it does not like is left to Pillow
    import simplejpeg
except ImportError:
    simplejpeg = None

JPEG_START = b"\xff\xd8\xff"

EXIF_LOOKED_AT = 1 << 16
"""A JPEG's EXIF data, where it has some, begins within so many bytes."""

Map = Callable[..., Iterable[Any]]
"""`map`, or that of a pool of threads."""


class Cut(NamedTuple):
    """What a batch's crops are: uniform draws for each (four for the box, and one that is below `flip` where
    it is mirrored), the share of the area that they show, and the height and width that they get."""

    draws: Float[Tensor, "batch 5"]
    flip: float
    area: Sequence[float]
    size: Size


class Original(NamedTuple):
    """A picture file whose header was read: its upright size, and its bytes where simplejpeg decodes them."""

    path: Picture
    size: Size
    content: bytes | None


def _is_upright(content: bytes) -> bool:
    if b"Exif\0\0" not in content[:EXIF_LOOKED_AT]:
        return True
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return image.getexif().get(ORIENTATION, 1) == 1


def _plain_jpeg(content: bytes, channels: int) -> Size | None:
    """Returns the size of a JPEG that simplejpeg decodes as Pillow does; None for any other file."""
    if not content.startswith(JPEG_START) or simplejpeg is None:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        fits = colours == "Gray" if channels == 1 else colours in ("YCbCr", "RGB", "Gray")
        return (int(height), int(width)) if fits and _is_upright(content) else None
    except Exception:  # whatever is wrong with it, Pillow will say
        return None


def opened(path: Picture, channels: int, reading: Reading) -> Original:
    """Returns a file with its header read. Raises ValueError for one that is no image."""
    if channels in (1, 3) and simplejpeg is not None:
        with naming(path, reading), path.open("rb") as file:
            content = file.read()
        size = _plain_jpeg(content, channels)
        if size and size[0] * size[1] <= reading.max_megapixels * 1_000_000:
            return Original(path, size, content)
    return Original(path, upright_size(path, channels, reading), None)


def shrinking(box: Sequence[float], size: Size) -> int:
    """Returns by what a JPEG may shrink while it is decoded (8, 4, 2 or 1) so that a box keeps `size`."""
    spare = min((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1])
    return next((factor for factor in (8, 4, 2) if spare >= factor), 1)


def decoded_at(original: Original, factor: int, channels: int, reading: Reading) -> np.ndarray:
    """Returns a picture as uint8 [height, width, channels], a JPEG at that fraction of its size."""
    if simplejpeg is not None and original.content is not None:
        height, width = (-(-side // factor) for side in original.size)
        least: dict[str, Any] = {"min_height": height, "min_width": width}
        try:
            colours = "GRAY" if channels == 1 else "RGB"
            return simplejpeg.decode_jpeg(original.content, colours, **least, min_factor=factor)
        except ValueError:  # damaged: Pillow decides whether it is too much
            pass
    return read_pixels(original.path, channels, reading, min(original.size) // factor)


def cut_out(original: Original, box: Sequence[float], size: Size, channels: int, reading: Reading) -> Tensor:
    """Returns a box of a picture, in whole pixels, at `size`: uint8 [channels, *size], antialiased."""
    pixels = decoded_at(original, shrinking(box, size), channels, reading)
    height, width = pixels.shape[:2]
    down, across = height / original.size[0], width / original.size[1]
    top, left = min(round(box[0] * down), height - 1), min(round(box[1] * across), width - 1)
    bottom, right = max(round(box[2] * down), top + 1), max(round(box[3] * across), left + 1)
    # through DLPack torch takes a read-only array without a warning
    part = torch.from_dlpack(pixels[top:bottom, left:right])[None].permute(0, 3, 1, 2)
    return F.interpolate(part, size, mode="bilinear", antialias=True)[0]


def crops_of(
    paths: Sequence[Picture], cut: Cut, channels: int, reading: Reading, run: Map = map
) -> Iterator[Tensor | ValueError]:
    """Yields for each file its crop, uint8 [channels, *cut.size], or why it cannot be read, by `run`."""

    def look(path: Picture) -> Original | ValueError:
        try:
            return opened(path, channels, reading)
        except ValueError as error:
            return error

    def make(at: tuple[Original | ValueError, list[float], bool]) -> Tensor | ValueError:
        original, box, flip = at
        if isinstance(original, ValueError):
            return original
        try:
            view = cut_out(original, box, cut.size, channels, reading).numpy()
            return torch.from_numpy(np.ascontiguousarray(view[..., ::-1] if flip else view))
        except ValueError as error:
            return error

    originals = list(run(look, paths))
    sizes = torch.tensor([(1, 1) if isinstance(each, ValueError) else each.size for each in originals])
    flips = (cut.draws[:, 4] < cut.flip).tolist()
    boxes = random_boxes(cut.draws[:, :4], cut.area, CROP_ASPECT, (sizes[:, 0], sizes[:, 1]))
    yield from run(make, zip(originals, boxes.tolist(), flips, strict=True))
