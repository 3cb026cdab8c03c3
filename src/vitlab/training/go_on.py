"""Beginning a run, and going on with one that was killed as if it had not been."""

import logging
from collections.abc import Container
from pathlib import Path
from typing import Any

from vitlab.config.continuing import KEY, refuse_strange_places
from vitlab.config.from_record import config_from_record
from vitlab.config.resolve import Asked
from vitlab.loggers.tell import run_loggers
from vitlab.loggers.tracker import MISSING, Away, Tracker
from vitlab.runs.agreement import check_agreement
from vitlab.runs.load import check_sizes
from vitlab.runs.record import Run
from vitlab.training.checkpoints import newest_checkpoint
from vitlab.training.continuing import parent_in, parent_kept_in
from vitlab.training.fit import GoingOn, fit_and_test
from vitlab.training.tell_loggers import facts_of, result_of
from vitlab.training.trainer import build_loggers, test_result
from vitlab.weights.facts import Pretrained
from vitlab.weights.sources import read_weights

log = logging.getLogger(__name__)


def begin(asked: Asked, config: dict[str, Any], weights: Pretrained | None) -> None:
    """Trains and tests a checked config: from nothing, pretrained weights, or another run's last state."""
    parent = None
    if config[KEY] is not None:
        refuse_strange_places(config, asked.folder, asked.overrides)
        parent, weights = parent_in(Path(config[KEY])), None
    facts = {"overrides": asked.overrides, "choices": asked.choices}
    fit_and_test(config, asked.folder, weights, facts, parent=parent)


def tell_what_is_missing(run: Run, allowed: Container[str]) -> None:
    """Tells trackers that were away when a run ended what they missed of it, and its record that they have
    it. One that would send, and that the command line does not name, is not told, which a line says."""
    record = run.record
    late = {
        title: each for title, each in record.get("loggers", {}).items() if {"id", MISSING} <= each.keys()
    }
    if not late:
        return
    try:
        config = config_from_record(record, run.folder / "run.json", run.folder, allowed=allowed)
    except ValueError as error:
        log.warning("%s has not heard all of it: %s", " and ".join(late), error)
        return
    facts = facts_of(run, record["objective"], record["steps"])
    counts = record.get("num_validated"), record.get("num_tested")
    result = result_of(run.folder, record["metrics"], *counts, record["objective"]["shares"])
    for title, logger in run_loggers(build_loggers(config)).items():
        if title not in late or not isinstance(logger, Tracker):
            continue
        logger.resumed(late[title])
        try:
            logger.catch_up(facts, result, "completed")
        except Away as error:
            log.warning("%s: %s; it has nothing from step %s on", logger.place, error, late[title][MISSING])
            continue
        run.update(loggers=run.record["loggers"] | {title: logger.identity()})
        log.info("%s was told what it missed from step %s on", logger.place, late[title][MISSING])


def go_on(run: Run, allowed: Container[str] = ()) -> None:
    """Finishes a run that was killed, with the result that it would have had. Its folder may have moved since
    then. A run that is complete stays as it is.

    `allowed` are paths outside the folder to which the run may write too.
    """
    if run.record["status"] == "completed":
        log.info(
            "%s is complete: %s",
            run.folder,
            test_result(run.record["metrics"], run.record.get("num_tested"), run.record["objective"]),
        )
        tell_what_is_missing(run, allowed)
        return
    config = config_from_record(run.record, run.folder / "run.json", run.folder, allowed=allowed)
    checkpoint = newest_checkpoint(run.folder / "checkpoints")
    if checkpoint:
        check_agreement(run, config, checkpoint)
        check_sizes(checkpoint[1], checkpoint[0])
    parent = None if checkpoint else parent_kept_in(run.folder, run.record)
    source = config["model"].get("weights")
    weights = read_weights(source) if source and not (checkpoint or parent) else None
    fit_and_test(config, run.folder, weights, going_on=GoingOn(run, checkpoint), parent=parent)
