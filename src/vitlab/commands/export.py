"""`vitlab export`: a checkpoint as a folder that other libraries open, with a model card."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitlab.config.compose import run_in_folder

log = logging.getLogger(__name__)


def export_checkpoint(config: dict[str, Any], folder: Path) -> None:
    """Writes and checks the export under a hidden name, so that what has the format's name is complete."""
    from safetensors import SafetensorError

    from vitlab.export.formats import FORMATS, write_export
    from vitlab.export.labels import are_numbers
    from vitlab.export.model_card import run_record
    from vitlab.files.atomic import NotWritten, writing
    from vitlab.runs.load import load_model, objective_of
    from vitlab.runs.status import check_record

    name, opset = config["format"], config["opset"]
    if not isinstance(name, str) or name not in FORMATS:
        raise ValueError(f"format={name} is not known; known: {', '.join(FORMATS)}")
    if opset is not None and (name != "onnx" or not isinstance(opset, int) or isinstance(opset, bool)):
        raise ValueError(
            f"opset={opset} with format={name}: only format=onnx takes one, a whole number such as 18"
        )
    target = folder / name
    if target.exists():
        raise ValueError(f"{target} is there already; remove it, or give another folder: hydra.run.dir=DIR")
    path = Path(str(config["checkpoint"]))
    model, card = load_model(path)
    model = objective_of(card, path).exported(model)
    record = run_record(path, card.config)
    try:
        check_record(record or {"status": "completed"})
    except ValueError as error:
        raise ValueError(
            f"{path.absolute().parent.parent}/run.json: {error}; without it the export would leave out what"
            " it tells"
        ) from None

    part = folder / f".{name}.{os.getpid()}"
    part.mkdir()
    try:
        with writing(target):
            write_export(model, card, record, path, part, name, {} if opset is None else {"opset": opset})
            part.rename(target)
    except SafetensorError as error:  # its own of a full disk
        raise NotWritten(f"{target} could not be written ({error})") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if not record:
        left_out = "the model card leaves out data, metrics and command"
        log.info("no run.json of this checkpoint's run beside checkpoints/: %s", left_out)
    log.info("%s: %s", name, ", ".join(sorted(file.name for file in target.iterdir())))
    outputs = "numbers, in the units of the data" if are_numbers(card) else "logits"
    log.info("it gives the checkpoint's %s; README.md says how to load it: %s", outputs, target)


def main(arguments: Sequence[str]) -> None:
    run_in_folder(export_checkpoint, "export", {"checkpoint": str}, arguments)
