"""Pictures as files: their names, and writing them."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from vitlab.files.atomic import writing


def write_picture(file: Path, content: bytes) -> None:
    """Writes a picture's file, and its folder where there is none. Raises NotWritten on a full disk."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def file_name(name: str, content: bytes) -> str:
    """Returns what a picture's file is called: `test_confusion.png` for `test/confusion`."""
    return f"{name.replace('/', '_')}.{str(Image.open(BytesIO(content)).format).lower()}"
