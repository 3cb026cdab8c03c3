"""Pictures within a page."""

from vitlab.pictures.drawing import Picture, png
from vitlab.pictures.page import base64_text

SMALL = 256
"""Pictures with no longer side than this are embedded without loss, and shown with sharp pixels."""


def picture_url(picture: Picture) -> str:
    """Returns a drawn or small picture as a data URL."""
    return f"data:image/png;base64,{base64_text(png(picture))}"
