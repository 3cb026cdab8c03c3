"""Which files are pictures: by their suffixes, by Pillow's formats, and by what is installed."""

from importlib.util import find_spec

from PIL import features

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""Photographs of telephones; Pillow reads them with the package pillow-heif."""

HAS_HEIF = find_spec("pillow_heif") is not None

HAS_AVIF = bool(features.check("avif"))

NPY = ".npy"
"""Arrays as NumPy saves them: [height, width, channels] or [channels, height, width]."""

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp", NPY}
    | ({".avif"} if HAS_AVIF else set())
    | (HEIF_SUFFIXES if HAS_HEIF else set())
)
"""What an image file's name ends with, in lower case."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP") + (("AVIF",) if HAS_AVIF else ())
"""What Pillow may open: no others, since EPS, for one, would run Ghostscript on a stranger's file."""

WAYS_TO_READ = {suffix: "pip install 'vitlab[heic]'" for suffix in HEIF_SUFFIXES if not HAS_HEIF} | (
    {} if HAS_AVIF else {".avif": "a Pillow with AVIF, such as 11.3 from PyPI,"}
)
"""By suffix, what would make files of a kind readable that are not read here."""


def formats() -> tuple[str, ...]:
    """Returns Pillow's formats, with HEIF where its reader is installed, imported at the first call."""
    if not HAS_HEIF:
        return FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")
