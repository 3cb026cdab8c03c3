"""Words in any script: by DejaVu, else a font of this machine, else as Unicode numbers."""

import re
from functools import lru_cache
from pathlib import Path

from matplotlib import get_data_path
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from vitlab.words import plain

DEJAVU = str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
"""As Matplotlib brings it: Pillow's own font has neither × nor ü, which class names need."""

ADDED = "…"
"""What words may be cut short with."""

UNEVEN = re.compile(r"bold|black|heavy|light|thin|italic|oblique|mono", re.IGNORECASE)
"""In the names of fonts that are asked last."""


@lru_cache
def _letters(file: str) -> frozenset[str]:
    """Returns what the font has; nothing for a file that is no font, or one of pictures."""
    try:
        font = FT2Font(file)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (RuntimeError, OSError):
        return frozenset()


@lru_cache
def installed() -> tuple[str, ...]:
    """Returns this machine's font files, plain ones first, without a last resort's boxes."""
    files = [file for file in findSystemFonts() if "lastresort" not in file.lower()]
    return tuple(sorted(files, key=lambda file: (bool(UNEVEN.search(Path(file).name)), Path(file).name)))


@lru_cache(maxsize=4096)
def font_file(words: str, others: tuple[str, ...] | None = None) -> str | None:
    """Returns the first of DejaVu and `others` that has all letters of the words; None if none has."""
    needed = {letter for letter in words + ADDED if not letter.isspace()}
    if needed <= _letters(DEJAVU):
        return DEJAVU
    others = installed() if others is None else others
    return next((file for file in others if needed <= _letters(file)), None)


def legible(words: str, others: tuple[str, ...] | None = None) -> str:
    r"""Returns the words or, where no font has them all, with what DejaVu lacks as `\u82b1`."""
    words = re.sub(r"\S+", lambda found: plain(found[0]), words)
    if font_file(words, others) is not None:
        return words
    known = {*_letters(DEJAVU), *filter(str.isspace, words)}
    escaped = {letter: letter.encode("ascii", "backslashreplace").decode() for letter in words}
    return "".join(letter if letter in known else escaped[letter] for letter in words)


@lru_cache
def _opened(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def font(size: int, words: str = "") -> ImageFont.FreeTypeFont:
    """Returns a font for legible words."""
    return _opened(font_file(words) or DEJAVU, size)
