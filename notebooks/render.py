"""`make notebooks` runs them, and keeps them with their outputs in docs/notebooks/ for GitHub."""

import base64
import os
import re
import tempfile
from io import BytesIO
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
SCRATCH = re.compile(re.escape(tempfile.gettempdir()) + r"/\w+")
RENDERED = HERE.parent / "docs" / "notebooks"


def shrink(data: dict[str, str]) -> None:
    """Keeps of a picture's two forms the PNG, in 256 colours: a quarter of the bytes."""
    if "image/png" not in data:
        return
    data.pop("image/jpeg", None)
    content = BytesIO()
    picture = Image.open(BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    data["image/png"] = base64.b64encode(content.getvalue()).decode()


def render(file: Path) -> None:
    """Runs a notebook in an empty folder and writes what comes out under its own name."""
    notebook = nbformat.read(file, as_version=4)
    metadata = dict(notebook.metadata)  # the kernel would add its own version
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPYTHONDIR"] = folder
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, record_timing=False, resources=place).execute()
    notebook.metadata = metadata
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            shrink(output.get("data", {}))
            if "text" in output:
                output["text"] = SCRATCH.sub("FOLDER", output["text"])
    RENDERED.mkdir(exist_ok=True)
    nbformat.write(notebook, RENDERED / file.name)


if __name__ == "__main__":
    for file in sorted(HERE.glob("*.ipynb")):
        print(f"{file.name} runs")
        render(file)
    print(f"{RENDERED}: {sum(file.stat().st_size for file in RENDERED.glob('*.ipynb')):,} bytes")
