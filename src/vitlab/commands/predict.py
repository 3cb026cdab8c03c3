"""`vitlab predict`: a table of the most probable classes of photographs, and where the reasons lie."""

import csv
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vitlab.config.arguments import as_list
from vitlab.config.compose import run_in_folder
from vitlab.words import in_cell, plain

log = logging.getLogger(__name__)

KINDS: dict[str, Any] = {
    "checkpoint": str | list[str],
    "weights_average": bool,
    "tta": str | None,
    "unlike": str | None,
    "images": str,
    "top_k": int,
    "batch_size": int,
    "explain": str | list[str] | None,
    "coverage": float | None,
    "device": str,
    "data.max_megapixels": int,
}
"""Types of the config's own values."""


def chosen_methods(key: str, given: Any) -> list[str]:
    """Returns the methods that a list or comma-separated text names. Raises ValueError for an unknown one."""
    from vitlab.insight.explain import METHODS

    names = given.split(",") if isinstance(given, str) else given or []
    for name in names:
        if name not in METHODS:
            said = f"{key}={name} is no method of explanation"
            if not name:
                said = f"{key}={given} names no method on one side of a comma"
            raise ValueError(f"{said}; known: {', '.join(METHODS)}")
    return list(dict.fromkeys(names))


def in_set(answer: Sequence[tuple[str, float]], threshold: float) -> list[str]:
    """Returns the names of the classes within `threshold` of certainty, and of the first in any case."""
    return [name for rank, (name, share) in enumerate(answer) if not rank or 1 - share <= threshold]


def classify_files(config: dict[str, Any], folder: Path) -> None:
    """Writes a line a picture to the terminal, all to predictions.csv, and with `explain` their pages."""
    from vitlab.data.files.find import find_images
    from vitlab.files.atomic import replace_text, writing
    from vitlab.insight.views.view_of import view_of
    from vitlab.models.kernels import full_speed
    from vitlab.predictor import Predictor
    from vitlab.runs.several import load_several

    methods = chosen_methods("explain", config["explain"])
    loaded = load_several(config["checkpoint"], config["tta"], config["weights_average"])
    model, card, objective, averaged = loaded.model, loaded.card, loaded.objective, loaded.is_averaged
    if averaged and (methods or config["coverage"] is not None):
        key = "explain" if methods else "coverage"
        raise ValueError(f"{key} is for one model on images as they are; one checkpoint, no tta would work")
    if methods:
        objective.require_classes("explain")
        view_of(model)
    source = Path(config["images"])
    files = find_images(source)
    limit = config["data"]["max_megapixels"]
    predictor = Predictor(model, card.class_names, card.preprocessing, config["device"], limit, objective)
    top_k, coverage = min(config["top_k"], objective.num_outputs), config["coverage"]
    threshold = None if coverage is None else objective.set_threshold(coverage)
    if top_k < 1 or config["batch_size"] < 1:
        raise ValueError(
            f"top_k={config['top_k']} and batch_size={config['batch_size']} must each be at least 1"
        )
    if config["data"]["max_megapixels"] < 1:
        raise ValueError(f"data.max_megapixels={config['data']['max_megapixels']} must be at least 1")

    unlike = None
    if config["unlike"] is not None:
        from vitlab.commands.unlikeness import Unlikeness

        unlike = Unlikeness(config["unlike"], loaded, predictor)
    sets_said = [] if coverage is None else [objective.told_of_sets(coverage)]
    unlike_said = [unlike.said()] if unlike else []
    for said in [*(loaded.said or [objective.how_sure()]), *sets_said, *unlike_said]:
        if said:
            log.info("%s", said)
    if averaged:
        replace_text(folder / "predictions.json", json.dumps(loaded.facts(), indent=2))
    unreadable: list[str] = []
    explanations = None
    if methods:
        from vitlab.commands.explanations import Explanations

        told = (str(config["checkpoint"]), objective.activation)
        explanations = Explanations(predictor, source, folder, methods, *told)
    width = min(max(len(plain(file.name)) for file in files), 40)
    table = folder / "predictions.csv"
    with writing(table), table.open("w", newline="", encoding="utf-8") as file, full_speed(predictor.device):
        writer = csv.writer(file)
        names = card.class_names
        header = ["file", *map(in_cell, objective.columns(names, top_k))]
        header += [] if threshold is None else [f"set_{coverage:g}"]
        writer.writerow([*header, *(unlike.header if unlike else [])])
        asked = top_k if threshold is None else objective.num_outputs
        for place, path, answer in _answers(predictor, files, config["batch_size"], asked, unlike):
            if isinstance(answer, str):
                unreadable.append(plain(answer))
                continue
            held = [] if threshold is None else in_set(answer, threshold)
            told = "  ".join(f"{plain(name)} {value}" for name, value in objective.told(answer, names, top_k))
            if held:
                told += f"  {coverage:.0%} in {{{', '.join(map(plain, held))}}}"
            if unlike:
                told += unlike.words(place)
            log.info("%-*s  %s", width, plain(path.name)[:width], told)
            values = map(in_cell, objective.cells(answer, names, top_k))
            sets = [in_cell("; ".join(held))] if held else []
            writer.writerow([in_cell(path), *values, *sets, *(unlike.cells(place) if unlike else [])])
            if explanations is not None:
                try:
                    for name in objective.explained(answer, names):
                        explanations.add(path, answer if name else answer[:top_k], name)
                except OSError as error:  # a name so long that no suffix fits, for one
                    unreadable.append(f"{plain(path)}: its explanation cannot be written ({error.strerror})")
    log.info("%d of %d pictures: %s", len(files) - len(unreadable), len(files), table)
    if explanations is not None:
        explanations.finish(unreadable)
    for line in unreadable[:-1]:
        log.error("vitlab: %s", line)
    if unreadable:
        raise ValueError(unreadable[-1])


def _answers(
    predictor: Any, files: list[Path], batch_size: int, top_k: int, unlike: Any
) -> Iterator[tuple[int, Path, Any]]:
    seen = unlike.seen if unlike else None
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        answers = predictor.classify(batch, top_k, seen)
        yield from zip(range(len(batch)), batch, answers, strict=True)


def main(arguments: Sequence[str]) -> None:
    run_in_folder(classify_files, "predict", KINDS, as_list("explain", arguments))
