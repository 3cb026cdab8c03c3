"""The formats by name, and a whole export: the model, its preprocessing and its card."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from vitlab.checkpoint.card import Card
from vitlab.export import to_hugging_face, to_onnx, to_timm, to_torch_export
from vitlab.export.labels import meaning
from vitlab.export.model_card import model_card
from vitlab.export.preprocessing import as_json
from vitlab.models.patch_embed import patch_grid
from vitlab.models.positions import resize_positions
from vitlab.models.vit import VisionTransformer


class Format(NamedTuple):
    """How a format is written, a program that classifies with it, and the library that reads it."""

    write: Callable[..., None]
    snippet: Callable[[Card], str]
    library: str


FORMATS = {
    "timm": Format(to_timm.write, to_timm.snippet, "timm"),
    "hf": Format(to_hugging_face.write, to_hugging_face.snippet, "transformers"),
    "onnx": Format(to_onnx.write, to_onnx.snippet, "onnx"),
    "torch_export": Format(to_torch_export.write, to_torch_export.snippet, "pytorch"),
}


@torch.no_grad()
def made_for(model: VisionTransformer, image_size: tuple[int, int]) -> VisionTransformer:
    """Returns a model of the same logits, of the images' own size: other libraries resize no positions."""
    if image_size == model.image_size:
        return model
    model = copy.deepcopy(model)
    grid = patch_grid(image_size, model.patch_embed.patch_size)
    if model.pos_embed is not None:
        num_prefix_positions = model.num_prefix_tokens if model.positions_on_prefix else 0
        table = resize_positions(model.pos_embed, model.grid, grid, num_prefix_positions)
        if isinstance(model.pos_embed, nn.Parameter):
            model.pos_embed = nn.Parameter(table)
        else:
            model.register_buffer("pos_embed", table, persistent=False)
    model.image_size, model.grid = image_size, grid
    return model


def write_export(
    model: nn.Module,
    card: Card,
    record: Mapping[str, Any],
    checkpoint: Path,
    folder: Path,
    format_name: str,
    options: Mapping[str, Any],
) -> None:
    """Fills `folder`. Raises ValueError where the format has no place for this model, or the file says
    something else. `card` is what the checkpoint keeps under "vitlab", `record` what `run_record` found."""
    if model.training:
        raise ValueError("a model in training would be exported with its dropout; call model.eval() first")
    form = FORMATS[format_name]
    height, width = card.preprocessing.image_size
    form.write(
        made_for(model, (height, width)) if isinstance(model, VisionTransformer) else model,
        card,
        folder,
        **options,
    )
    content = as_json(card.preprocessing, card.class_names) | meaning(card)
    if temperature := card.learned.get("temperature"):
        content["temperature"] = temperature
    (folder / "preprocessing.json").write_text(json.dumps(content, indent=2) + "\n")
    page = model_card(model, card, record, checkpoint, format_name, form.library, form.snippet(card))
    (folder / "README.md").write_text(page, encoding="utf-8", errors="backslashreplace")
