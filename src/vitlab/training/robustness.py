"""How a classifier bears corrupted images: `vitlab test corruptions=all shifts=true`."""

import csv
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from vitlab.corruptions.by_name import SEVERITIES, SHIFTS, check_images, chosen, corrupted, shifted
from vitlab.evaluation.answers import Answers
from vitlab.files.atomic import writing
from vitlab.loggers.tell import log_picture
from vitlab.pictures.curves import curves_figure
from vitlab.pictures.drawing import png
from vitlab.pictures.figures import drawn
from vitlab.runs.several import Loaded
from vitlab.training.judging import Told
from vitlab.training.look import look

log = logging.getLogger(__name__)

NOT_ALEXNETS = "plain mean of errors, not divided by AlexNet's: no published mCE"


def check_asked(config: Mapping[str, Any], loaded: Loaded) -> list[str]:
    """Returns the corruptions that are asked for. Raises ValueError where one is unknown, or the images or
    answers are of another kind."""
    names = chosen(config["corruptions"])
    for key in ("corruptions", "shifts"):
        if config[key]:
            loaded.require_one_class(key)
            check_images(loaded.card.preprocessing.in_channels, key)
    return names


def accuracy_of(answers: Answers) -> float:
    """Returns the share of images on which the highest score is the right class's."""
    return float((answers.outputs.argmax(dim=1) == answers.labels).double().mean())


def _accuracies(told: Told, changes: Sequence[Any]) -> list[float]:
    model, objective = told.loaded.model, told.loaded.objective
    return [accuracy_of(look(told.trainer, model, objective, told.data, change)) for change in changes]


def _write(told: Told, file: str, header: str, rows: Sequence[tuple[str, float, float]]) -> None:
    with writing(told.folder / file), (told.folder / file).open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["name", header, "accuracy"])
        writer.writerows(rows)


def _show(told: Told, name: str, curves: Mapping[str, Any], clean: float, words: str) -> None:
    picture = png(drawn(curves_figure(curves, clean, words)))
    log_picture(told.trainer.loggers, told.folder / "figures", f"test/{name}", picture, 0)


def tell_corruptions(told: Told, answers: Answers, names: Sequence[str]) -> None:
    """Says the accuracy under each corruption at each severity, and the mean corruption error."""
    clean, found = accuracy_of(answers), {}
    for name in names:
        changes = [
            lambda pixels, places, name=name, severity=severity: corrupted(
                pixels, name, severity, told.seed, places
            )
            for severity in SEVERITIES
        ]
        found[name] = _accuracies(told, changes)
        words = " ".join(f"{100 * value:5.1f}" for value in found[name])
        log.info("  %-20s accuracy at severity 1 to 5: %s %%", name, words)
    errors = {name: 1 - sum(values) / len(values) for name, values in found.items()}
    mean = sum(errors.values()) / len(errors)
    log.info(
        "mean corruption error %.2f %% over %d corruptions (clean error %.2f %%; %s)",
        100 * mean,
        len(errors),
        100 * (1 - clean),
        NOT_ALEXNETS,
    )
    _write(
        told, "corruptions.csv", "severity", _rows({name: (SEVERITIES, each) for name, each in found.items()})
    )
    told.run.update(
        corruptions={
            "seed": told.seed,
            "clean_accuracy": clean,
            "accuracy": found,
            "mean_corruption_error": mean,
            "definition": NOT_ALEXNETS,
        }
    )
    curves = {name: (list(map(str, SEVERITIES)), values) for name, values in found.items()}
    _show(
        told, "corruptions", curves, clean, f"Accuracy by severity; mean corruption error {100 * mean:.1f} %"
    )


def tell_shifts(told: Told, answers: Answers) -> None:
    """Says the accuracy on smaller, blurred and compressed images."""
    clean, found = accuracy_of(answers), {}
    for name, (_, amounts) in SHIFTS.items():
        changes = [partial(_shifted, name, amount) for amount in amounts]
        found[name] = (list(amounts), _accuracies(told, changes))
        pairs = zip(*found[name], strict=True)
        words = ", ".join(f"{amount:g}: {100 * value:.1f} %" for amount, value in pairs)
        log.info("  accuracy by %s (none: %.1f %%): %s", name, 100 * clean, words)
    _write(told, "shifts.csv", "amount", _rows(found))
    plain = {name: {"amount": amounts, "accuracy": values} for name, (amounts, values) in found.items()}
    told.run.update(shifts={"clean_accuracy": clean} | plain)
    titles = {"size": "share of the size", "blur": "blur, sigma in pixels", "jpeg": "quality of a JPEG"}
    curves = {
        titles[name]: ([f"{amount:g}" for amount in amounts], values)
        for name, (amounts, values) in found.items()
    }
    _show(told, "shifts", curves, clean, "Accuracy on changed images")


def _shifted(name: str, amount: float, pixels: Any, places: Any) -> Any:
    return shifted(pixels, name, amount)


def _rows(found: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> list[tuple[str, float, float]]:
    return [
        (name, amount, round(value, 6))
        for name, (amounts, values) in found.items()
        for amount, value in zip(amounts, values, strict=True)
    ]
