"""The formats by name, and a whole export: the model, its preprocessing and its card."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from vitlab.export import to_hugging_face, to_onnx, to_timm, to_torch_export
from vitlab.export.model_card import model_card
from vitlab.export.preprocessing import as_json


class Format(NamedTuple):
    """How a format is written, a program that classifies a picture with it, and the hub's word for the library that reads it."""

    write: Callable[..., None]
    snippet: Callable[[Mapping[str, Any]], str]
    library: str


FORMATS = {
    "timm": Format(to_timm.write, to_timm.snippet, "timm"),
    "hf": Format(to_hugging_face.write, to_hugging_face.snippet, "transformers"),
    "onnx": Format(to_onnx.write, to_onnx.snippet, "onnx"),
    "torch_export": Format(to_torch_export.write, to_torch_export.snippet, "pytorch"),
}


def write_export(
    model: nn.Module,
    card: Mapping[str, Any],
    record: Mapping[str, Any],
    checkpoint: Path,
    folder: Path,
    format_name: str,
    options: Mapping[str, Any],
) -> None:
    """Fills `folder`. Raises ValueError where the format has no place for this model, or the file says something else than it.

    `card` is what the checkpoint keeps under "vitlab", `record` what `run_record` found.
    """
    if model.training:
        raise ValueError("a model in training would be exported with its dropout; call model.eval() first")
    form = FORMATS[format_name]
    form.write(model, card, folder, **options)
    content = as_json(card["preprocessing"], card["class_names"])
    (folder / "preprocessing.json").write_text(json.dumps(content, indent=2) + "\n")
    page = model_card(model, card, record, checkpoint, format_name, form.library, form.snippet(card))
    (folder / "README.md").write_text(page)
