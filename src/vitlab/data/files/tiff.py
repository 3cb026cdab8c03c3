"""What a TIFF says its pixels are: Pillow takes measurements for colours, and does not know many."""

import logging
import warnings
from collections.abc import Mapping
from typing import IO, Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from vitlab.data.files.places import Picture

SUBFILE, WIDTH, HEIGHT, BITS, MEANING, BANDS, EXTRA, KIND = 254, 256, 257, 258, 262, 277, 338, 339
"""Tags of TIFF 6.0 (1992): NewSubfileType, ImageWidth, ImageLength, BitsPerSample and so on."""

WHITE_IS_ZERO = 0

COLOURS = {WHITE_IS_ZERO: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3, 9: 3}
"""How many bands have a colour, by `MEANING`: grey, grey, RGB, palette, mask, CMYK, YCbCr, Lab, ICC Lab."""

TRANSPARENCY = (1, 2, 999)  # 999: Corel Draw's

KINDS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}

# What is wrong with a file is said in our one line, by whoever wanted to read it.
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


def _page(file: IO[bytes], header: bytes, start: int | None = None) -> ImageFileDirectory_v2:
    """Returns the tags of the page that starts there, or of the first one."""
    tags = ImageFileDirectory_v2(header)
    file.seek(tags.next if start is None else start)
    tags.load(file)  # and so finds where the next page starts
    return tags


def _header(file: IO[bytes]) -> bytes:
    start = file.read(8)
    is_big = 43 in start[2:4]
    if start[:2] not in (b"II", b"MM") or not (is_big or 42 in start[2:4]):
        raise ValueError("no TIFF")
    return start + file.read(8) if is_big else start


def refuse_measurements(tags: Mapping[int, Any]) -> None:
    """Raises ValueError for pixels without known black and white, or bands that are no colours."""
    bits, kinds = tags.get(BITS, (1,)), tags.get(KIND, (1,))
    if kinds[0] in KINDS or max(bits) > 16:
        kind = f"{KINDS.get(kinds[0], 'unsigned')} pixels of {max(bits)} bits"
        raise ValueError(
            f"{kind} have no known range; data.value_range=[low,high] would say which are black and white"
        )
    bands, colours = tags.get(BANDS, 1), COLOURS.get(tags.get(MEANING, -1))
    if colours is None or bands <= colours:
        return
    others, extra = bands - colours, tags.get(EXTRA, ())
    if others > 1 or not extra or extra[0] not in TRANSPARENCY:
        named = {1: "grey", 3: "red, green and blue", 4: "cyan, magenta, yellow and black"}[colours]
        raise ValueError(
            f"{bands} bands, of which {others} are neither {named} nor transparency;"
            f" data.in_channels={bands} would read all of them"
        )


def refuse_pages(path: Picture, first: ImageFileDirectory_v2) -> None:
    """Raises ValueError where a page of the same size follows: of a stack, or of bands, one would be read."""
    if first.next:
        with path.open("rb") as file:
            second = _page(file, _header(file), first.next)
        is_smaller = any(first.get(side) != second.get(side) for side in (WIDTH, HEIGHT))
        if not (is_smaller or second.get(SUBFILE, 0) & 5):
            raise ValueError("a stack of several pages; save the one that counts as a file of its own")


def is_deep(path: Picture) -> bool:
    """Tells whether a TIFF's values have more than 8 bits, as far as its tags can be read."""
    try:
        with path.open("rb") as file:
            return max(_page(file, _header(file)).get(BITS, (1,))) > 8
    except Exception:  # on damaged bytes Pillow raises almost anything; who reads the pixels will say so
        return False


def why_not(path: Picture) -> str | None:
    """Returns why Pillow cannot read a TIFF; None if that does not show in its tags, or for another file."""
    try:
        with path.open("rb") as file:
            tags = _page(file, _header(file))
        if WIDTH not in tags:  # a damaged one, too
            return None
        form = f"{tags.get(BANDS, 1)} band(s) of {max(tags.get(BITS, (1,)))} bits"
    except Exception:  # on damaged bytes Pillow raises almost anything
        return None
    try:
        refuse_measurements(tags)
    except ValueError as error:
        return str(error)
    return f"a TIFF of {form}, of a kind that Pillow does not read; save it with 8 bits"
