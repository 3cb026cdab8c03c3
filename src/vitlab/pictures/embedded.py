"""Pictures within a page."""

from io import BytesIO

from PIL import Image

from vitlab.pictures.drawing import Picture, png
from vitlab.pictures.page import base64_text

SMALL = 256
"""Pictures with no longer side than this are embedded without loss, and shown with sharp pixels."""


def picture_url(picture: Picture) -> str:
    """Returns a drawn or small picture as a data URL."""
    return f"data:image/png;base64,{base64_text(png(picture))}"


def photo_url(picture: Picture, exact_up_to: int = SMALL) -> str:
    """Returns a photograph as a data URL: a PNG with a longer side up to so many pixels, a JPEG above."""
    if max(picture.shape) <= exact_up_to:
        return picture_url(picture)
    file = BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64_text(file.getvalue())}"
