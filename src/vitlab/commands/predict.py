"""`vitlab predict`: a table of the most probable classes for a photograph or a folder of them, and where the
reasons lie."""

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vitlab.config.arguments import as_list
from vitlab.config.compose import run_in_folder
from vitlab.words import in_cell, plain

log = logging.getLogger(__name__)

KINDS: dict[str, Any] = {
    "checkpoint": str,
    "images": str,
    "top_k": int,
    "batch_size": int,
    "explain": str | list[str] | None,
    "device": str,
    "data.max_megapixels": int,
}
"""Types of the config's own values."""


def chosen_methods(key: str, given: Any) -> list[str]:
    """Returns the methods that a list, a comma-separated text or null names. Raises ValueError for one that
    is not known."""
    from vitlab.insight.explain import METHODS

    names = (
        given.split(",")
        if isinstance(given, str)
        else given
        if isinstance(given, list)
        else []
        if given is None
        else [given]
    )
    for name in names:
        if name not in METHODS:
            said = (
                f"{key}={name} is no method of explanation"
                if name
                else f"{key}={given} names no method on one side of a comma"
            )
            raise ValueError(f"{said}; known: {', '.join(METHODS)}")
    return list(dict.fromkeys(names))


def classify_files(config: dict[str, Any], folder: Path) -> None:
    """Writes a line a picture to the terminal, all of them to predictions.csv, and with `explain` their
    pages."""
    from vitlab.data.files.find import find_images
    from vitlab.files.atomic import writing
    from vitlab.insight.views.view_of import view_of
    from vitlab.models.kernels import full_speed
    from vitlab.predictor import Predictor
    from vitlab.runs.load import load_model, objective_of

    methods = chosen_methods("explain", config["explain"])
    model, card = load_model(config["checkpoint"])
    objective = objective_of(card, config["checkpoint"])
    if methods:
        objective.require_classes("explain")
        view_of(model)
    source = Path(config["images"])
    files = find_images(source)
    limit = config["data"]["max_megapixels"]
    predictor = Predictor(
        model, card.class_names, card.preprocessing, config["device"], limit, objective.answers
    )
    top_k = min(config["top_k"], objective.num_outputs)
    columns, style = (
        (("class", "probability"), "6.1%") if objective.names_classes else (("output", "value"), ".6g")
    )
    if top_k < 1 or config["batch_size"] < 1:
        raise ValueError(
            f"top_k={config['top_k']} and batch_size={config['batch_size']} must each be at least 1"
        )
    if config["data"]["max_megapixels"] < 1:
        raise ValueError(f"data.max_megapixels={config['data']['max_megapixels']} must be at least 1")

    unreadable: list[str] = []
    explanations = None
    if methods:
        from vitlab.commands.explanations import Explanations

        explanations = Explanations(predictor, source, folder, methods, str(config["checkpoint"]))
    width = min(max(len(plain(file.name)) for file in files), 40)
    table = folder / "predictions.csv"
    with writing(table), table.open("w", newline="", encoding="utf-8") as file, full_speed(predictor.device):
        writer = csv.writer(file)
        writer.writerow(["file", *(f"{column}_{rank}" for rank in range(1, top_k + 1) for column in columns)])
        for path, answer in _answers(predictor, files, config["batch_size"], top_k):
            if isinstance(answer, str):
                unreadable.append(plain(answer))
                continue
            told = "  ".join(f"{plain(name)} {probability:{style}}" for name, probability in answer)
            log.info("%-*s  %s", width, plain(path.name)[:width], told)
            values = (
                value for name, probability in answer for value in (in_cell(name), f"{probability:.6f}")
            )
            writer.writerow([in_cell(path), *values])
            if explanations is not None:
                try:
                    explanations.add(path, answer)
                except OSError as error:  # a name so long that no suffix fits, for one
                    unreadable.append(f"{plain(path)}: its explanation cannot be written ({error.strerror})")
    log.info("%d of %d pictures: %s", len(files) - len(unreadable), len(files), table)
    if explanations is not None:
        explanations.finish(unreadable)
    for line in unreadable[:-1]:
        log.error("vitlab: %s", line)
    if unreadable:
        raise ValueError(unreadable[-1])


def _answers(predictor: Any, files: list[Path], batch_size: int, top_k: int) -> Iterator[tuple[Path, Any]]:
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        yield from zip(batch, predictor.classify(batch, top_k), strict=True)


def main(arguments: Sequence[str]) -> None:
    run_in_folder(classify_files, "predict", KINDS, as_list("explain", arguments))
