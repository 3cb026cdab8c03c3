"""One ONNX file, for onnxruntime and whatever else reads the format."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from vitlab.checkpoint.card import Card
from vitlab.export.labels import meaning, said_in_code
from vitlab.export.preprocessing import as_json
from vitlab.export.program import in_code
from vitlab.export.proof import hold_equal, random_images

ONE_FILE = 2**31 - 2**24
"""Bytes of weights that model.onnx holds itself; more lie in a file beside it."""


OLDEST_OPSET = 18
"""The version that torch's exporter writes its operators in."""


def check_can_write(opset: int | None) -> None:
    """Raises ValueError where the format's packages are missing, or do not know the operators' version."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"format=onnx needs {' and '.join(missing)}: pip install 'vitlab[onnx]'; format=torch_export"
            " needs nothing more"
        )
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not OLDEST_OPSET <= opset <= newest:
        raise ValueError(f"opset={opset} cannot be written; {OLDEST_OPSET} to {newest} would work")


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keeps the exporter's progress, and its tracebacks about what it then does, from the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@torch.no_grad()
def write(model: nn.Module, card: Card, folder: Path, opset: int | None = None) -> None:
    """Writes model.onnx: `images` [batch, channels, height, width] to `logits`, with class names,
    preprocessing, and what makes probabilities of them (`activation`) as metadata.

    `opset` is the version of the format's operators, by default torch's own choice. Raises ValueError where a
    package is missing, the version cannot be written, or the file says something else than the model.
    """
    check_can_write(opset)
    import onnx
    from onnx.reference import ReferenceEvaluator

    facts, file = card.preprocessing, folder / "model.onnx"
    with _without_chatter():
        program = torch.onnx.export(
            model,
            (random_images(facts, 2),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits"],
            opset_version=opset,
            verbose=False,
        )
    assert program is not None  # as always with dynamo
    written = program.model.opset_imports[""]
    if opset is not None and written != opset:
        raise ValueError(f"opset={opset}: this model cannot be written with it; opset={written} would work")
    program.model.metadata_props["class_names"] = json.dumps(card.class_names)
    program.model.metadata_props["preprocessing"] = json.dumps(as_json(facts, card.class_names))
    for name, value in meaning(card).items():
        program.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    program.save(file, external_data=num_bytes > ONE_FILE)

    onnx.checker.check_model(file)
    images = random_images(facts, 1)
    (given,) = ReferenceEvaluator(str(file)).run(None, {"images": images.numpy()})  # type: ignore[misc]
    hold_equal(model(images), torch.from_numpy(given), 1e-4, "onnx")


def snippet(card: Card) -> str:
    """Returns a program that asks the model about picture.jpg."""
    return f"""\
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

{in_code(card.preprocessing)}

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {{"images": images}})
class_names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
{said_in_code(card, "class_names")}"""
