"""What `vitlab test` says beside metrics: how sure they are, each class, which model is better."""

import csv
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from vitlab.data.image_data import ImageData
from vitlab.evaluation.answers import Answers, intervals_of, weighted_metrics
from vitlab.evaluation.bootstrap import Interval
from vitlab.evaluation.kept import identities, in_common_order
from vitlab.evaluation.paired import as_plain, conclusion, differences, mcnemar
from vitlab.files.atomic import writing
from vitlab.objectives.per_class import as_rows
from vitlab.runs.record import Run
from vitlab.runs.several import Loaded, load_several
from vitlab.training.look import look

log = logging.getLogger(__name__)


def check_asked(config: Mapping[str, Any]) -> None:
    """Raises ValueError for what cannot be asked of a test, before anything is read."""
    level = config["intervals"]
    if level is not None and not 0.0 < level < 1.0:
        raise ValueError(f"intervals={level} must lie above 0 and below 1; 0.95 or null would work")
    if config["against"] and config["trainer"].get("limit_test_batches", 1.0) != 1.0:
        raise ValueError(
            "against: trainer.limit_test_batches leaves images out, other ones of each model; 1.0 would work"
        )


def load_rival(config: Mapping[str, Any], card: Any) -> Loaded | None:
    """Returns the model to compare with, or None. Raises ValueError where it knows other classes."""
    if not config["against"]:
        return None
    rival = load_several(config["against"], None, False, config["metrics"])
    if rival.card.class_names != card.class_names:
        mine, other = len(card.class_names), len(rival.card.class_names)
        raise ValueError(
            f"against={config['against']}: it knows other classes ({other}) than the checkpoint ({mine});"
            " models of the same classes, in the same order, would work"
        )
    return rival


def check_one_device(trainer: pl.Trainer, config: Mapping[str, Any]) -> None:
    """Raises ValueError where several devices would share what one has to look at."""
    asked = [key for key in ("against", "corruptions", "shifts", "unlike") if config.get(key)]
    if asked and trainer.world_size > 1:
        raise ValueError(f"{asked[0]} is measured on one device; trainer.devices=1 would work")


def check_same_images(first: ImageData, second: ImageData, config: Mapping[str, Any]) -> None:
    """Raises ValueError where two models' test images are not the same ones."""
    if identities(first) != identities(second):
        splits = [len(data.splits["test"]) for data in (first, second)]
        raise ValueError(
            f"against={config['against']}: the two runs held back other images ({splits[0]:,} and"
            f" {splits[1]:,}); runs of one split, or a folder that neither saw (data.root=OTHER), would work"
        )


def defined(values: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Returns the metrics that have a value, and the names of those that have none on these images."""
    undefined = [name for name, value in values.items() if not math.isfinite(value)]
    return {name: value for name, value in values.items() if name not in undefined}, undefined


def in_words(value: float, interval: Interval | None, is_share: bool) -> str:
    """Returns a metric's value with its interval."""
    scale, style, unit = (100, ".2f", " %") if is_share else (1, ".4f", "")
    told = f"{scale * value:{style}}{unit}"
    if interval is None:
        return f"{told}  (no interval: every drawing of the images gives the same, or too few have a value)"
    return f"{told}  {scale * interval.low:{style}} to {scale * interval.high:{style}}{unit}"


@dataclass(frozen=True)
class Told:
    """Says what a test found out beside its metrics: in lines, in the test's record and in its folder."""

    trainer: pl.Trainer
    loaded: Loaded
    data: ImageData
    folder: Path
    run: Run
    seed: int

    @rank_zero_only
    def classes(self, answers: Answers) -> None:
        """Writes per_class.csv."""
        columns = self.loaded.objective.per_class(answers.outputs, answers.labels)
        if columns is None:
            return
        table = self.folder / "per_class.csv"
        with writing(table), table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(as_rows(columns, self.data.class_names))
        log.info("each class: %s", table)

    @rank_zero_only
    def answers(self, answers: Answers) -> None:
        """Says how far the answers can be believed."""
        for line in self.loaded.objective.told_of_test(answers.outputs, answers.labels):
            log.info("%s", line)

    @rank_zero_only
    def intervals(self, answers: Answers, values: Mapping[str, float], level: float | None) -> None:
        """Says each metric with its interval, and which have no value."""
        objective = self.loaded.objective
        names = {str(name): f"test/{name}" for name in objective.all_metrics("").keys(keep_base=True)}
        told = {name: values[full] for name, full in names.items() if full in values}
        for name, value in told.items():
            if not math.isfinite(value):
                log.warning("%s has no value on these %s images", name, f"{len(answers.labels):,}")
        if level is None:
            return
        found = intervals_of(objective, answers, told, level, self.seed)
        plain = {names[name]: each and each._asdict() for name, each in found.items()}
        self.run.update(intervals={"level": level, "seed": self.seed, "of": plain})
        number = f"{len(answers.labels):,}"
        log.info("%s intervals, from %s images (seed %d):", f"{level:.0%}", number, self.seed)
        for name, each in found.items():
            log.info("  %-20s %s", name, in_words(told[name], each, name in objective.shares))

    def against(self, answers: Answers, rival: Loaded, rivals_data: ImageData, level: float) -> None:
        """Says which of two models is better on the same images."""
        theirs = look(self.trainer, rival.model, rival.objective, rivals_data)
        objective, count = self.loaded.objective, len(answers.labels)
        both = [in_common_order(self.data, answers), in_common_order(rivals_data, theirs)]
        (own, drawings), (others, _) = map(weighted_metrics, (objective, rival.objective), both)
        found = differences(own, others, drawings, count, level, self.seed)
        tests = {
            name: mcnemar(*(is_right(each.outputs, each.labels) for each in both))
            for name, is_right in objective.rights.items()
            if name in found
        }
        log.info("%-20s %12s %12s %12s", "against the other", "checkpoint", "other", "difference")
        for name, each in found.items():
            log.info("  %-18s %12.4f %12.4f %+12.4f", name, each.first, each.second, each.difference)
        lines = [
            conclusion(name, each, level, tests.get(name), count)
            for name, each in found.items()
            if name in (*objective.headline, *tests)
        ]
        self.run.update(against={"checkpoint": rival.path, **as_plain(found, tests), "conclusion": lines})
        for line in lines:
            log.info("%s", line)
