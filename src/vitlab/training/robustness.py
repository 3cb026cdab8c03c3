"""How a model bears corrupted images: `vitlab test corruptions=all shifts=true`."""

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from vitlab.corruptions.by_name import SEVERITIES, SHIFTS, check_images, chosen, corrupted, shifted
from vitlab.evaluation.answers import Answers, score_of
from vitlab.files.atomic import writing
from vitlab.loggers.tell import log_picture
from vitlab.objectives.objective import Objective
from vitlab.pictures.curves import curves_figure
from vitlab.pictures.drawing import png
from vitlab.pictures.figures import drawn
from vitlab.runs.several import Loaded
from vitlab.training.judging import Told
from vitlab.training.look import look

log = logging.getLogger(__name__)

NOT_ALEXNETS = "plain mean of errors, not divided by AlexNet's: no published mCE"


def check_asked(config: Mapping[str, Any], loaded: Loaded) -> list[str]:
    """Returns the corruptions asked for. Raises ValueError for an unknown one, or other images."""
    names = chosen(config["corruptions"])
    for key in ("corruptions", "shifts"):
        if config[key]:
            check_images(loaded.card.preprocessing.in_channels, key)
    return names


class _Score(NamedTuple):
    """An objective's score in words: its name, the unit and style of its values, and what its error is."""

    name: str
    scale: float
    style: str
    unit: str
    error: str

    @classmethod
    def of(cls, objective: Objective) -> "_Score":
        name = objective.score
        error = name if objective.score_mode == "min" else f"1 - {name}"
        return cls(name, *((100, ".1f", " %") if name in objective.shares else (1, ".4f", "")), error)

    def words(self, value: float) -> str:
        return f"{self.scale * value:{self.style}}"


def _scores(told: Told, changes: Sequence[Any]) -> list[float]:
    model, objective = told.loaded.model, told.loaded.objective
    looks = (look(told.trainer, model, objective, told.data, change) for change in changes)
    return [score_of(objective, each) for each in looks]


def _clean(told: Told, answers: Answers, key: str) -> tuple[_Score, float] | None:
    """Returns the score of the images as they are; None, and says so, where it has no value on them."""
    score, clean = _Score.of(told.loaded.objective), score_of(told.loaded.objective, answers)
    if math.isfinite(clean):
        return score, clean
    log.warning("%s: %s has no value on these %s images", key, score.name, f"{len(answers.labels):,}")
    return None


def _write(told: Told, file: str, header: Sequence[str], rows: Sequence[tuple[str, float, float]]) -> None:
    with writing(told.folder / file), (told.folder / file).open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table)
        writer.writerow(["name", *header])
        writer.writerows(rows)


def _show(told: Told, name: str, curves: Mapping[str, Any], clean: float, words: str) -> None:
    objective = told.loaded.objective
    unchanged = f"{_Score.of(objective).words(clean)}{_Score.of(objective).unit}"
    picture = curves_figure(curves, clean, f"{words}\n(dashed: unchanged images, {unchanged})")
    log_picture(told.trainer.loggers, told.folder / "figures", f"test/{name}", png(drawn(picture)), 0)


def tell_corruptions(told: Told, answers: Answers, names: Sequence[str]) -> None:
    """Says the objective's score under each corruption at each severity, and the mean corruption error."""
    if (known := _clean(told, answers, "corruptions")) is None:
        return
    (score, clean), error_of, found = known, told.loaded.objective.error_of, {}
    for name in names:
        changes = [partial(_corrupted, name, severity, told.seed) for severity in SEVERITIES]
        found[name] = _scores(told, changes)
        words = " ".join(f"{score.words(value):>5}" for value in found[name])
        log.info("  %-20s %s at severity 1 to 5: %s%s", name, score.name, words, score.unit)
    mean = sum(error_of(sum(values) / len(values)) for values in found.values()) / len(found)
    definition = f"error = {score.error}; {NOT_ALEXNETS}"
    in_words, of_clean = (f"{score.words(each)}{score.unit}" for each in (mean, error_of(clean)))
    words = f"over {len(found)} corruptions (clean error {of_clean}; {definition})"
    log.info("mean corruption error %s %s", in_words, words)
    rows = _rows({name: (SEVERITIES, each) for name, each in found.items()})
    _write(told, "corruptions.csv", ["severity", score.name], rows)
    told.run.update(
        corruptions={
            "seed": told.seed,
            "metric": score.name,
            f"clean_{score.name}": clean,
            score.name: found,
            "mean_corruption_error": mean,
            "definition": definition,
        }
    )
    curves = {name: (list(map(str, SEVERITIES)), values) for name, values in found.items()}
    words = f"mean corruption error {in_words} ({score.error})"
    _show(told, "corruptions", curves, clean, f"{score.name} by severity\n{words}")


def tell_shifts(told: Told, answers: Answers) -> None:
    """Says the objective's score on smaller, blurred and compressed images."""
    if (known := _clean(told, answers, "shifts")) is None:
        return
    (score, clean), found = known, {}
    for name, (_, amounts) in SHIFTS.items():
        changes = [partial(_shifted, name, amount) for amount in amounts]
        found[name] = (list(amounts), _scores(told, changes))
        pairs = zip(*found[name], strict=True)
        words = ", ".join(f"{amount:g}: {score.words(value)}{score.unit}" for amount, value in pairs)
        log.info("  %s by %s (none: %s%s): %s", score.name, name, score.words(clean), score.unit, words)
    _write(told, "shifts.csv", ["amount", score.name], _rows(found))
    plain = {name: {"amount": amounts, score.name: values} for name, (amounts, values) in found.items()}
    told.run.update(shifts={"metric": score.name, f"clean_{score.name}": clean} | plain)
    titles = {"size": "share of the size", "blur": "blur, sigma in pixels", "jpeg": "quality of a JPEG"}
    curves = {titles[name]: ([f"{each:g}" for each in at], values) for name, (at, values) in found.items()}
    _show(told, "shifts", curves, clean, f"{score.name} on changed images")


def _shifted(name: str, amount: float, pixels: Any, places: Any) -> Any:
    return shifted(pixels, name, amount)


def _corrupted(name: str, severity: int, seed: int, pixels: Any, places: Any) -> Any:
    return corrupted(pixels, name, severity, seed, places)


def _rows(found: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> list[tuple[str, float, float]]:
    return [
        (name, amount, round(value, 6))
        for name, (amounts, values) in found.items()
        for amount, value in zip(amounts, values, strict=True)
    ]
