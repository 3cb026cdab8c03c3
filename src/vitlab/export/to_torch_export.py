"""One file with torch's own graph: `torch.export.load` needs neither vitlab nor the model's code."""

import warnings
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from vitlab.checkpoint.card import Card
from vitlab.export.labels import said_in_code
from vitlab.export.program import in_code
from vitlab.export.proof import hold_equal, random_images


@torch.no_grad()
def write(model: nn.Module, card: Card, folder: Path) -> None:
    """Writes model.pt2, for any number of images. Raises ValueError where it does not say the same."""
    facts = card.preprocessing
    file = folder / "model.pt2"
    program = torch.export.export(
        model, (random_images(facts, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    with warnings.catch_warnings():
        # of weights whose channels lie last in memory; they come back whole, as is checked below
        warnings.filterwarnings("ignore", "No complete tensor found in the group")
        content = BytesIO()  # written by torch itself, a full disk would abort the process
        torch.export.save(program, content)
    file.write_bytes(content.getbuffer())
    reread = torch.export.load(file).module()
    for count in (1, 3):
        images = random_images(facts, count)
        hold_equal(model(images), reread(images), 1e-5, "torch_export")


def snippet(card: Card) -> str:
    """Returns a program that asks the model about picture.jpg."""
    return f"""\
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

{in_code(card.preprocessing)}

model = torch.export.load("model.pt2").module()
with torch.inference_mode():
    logits = model(torch.from_numpy(images)).numpy()
class_names = json.loads(Path("preprocessing.json").read_text())["class_names"]
{said_in_code(card, "class_names")}"""
