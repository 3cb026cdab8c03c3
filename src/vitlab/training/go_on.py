"""Beginning a run, and going on with one that was killed as if it had not been."""

import logging
from collections.abc import Container
from pathlib import Path
from typing import Any

from vitlab.config.continuing import KEY, refuse_strange_places
from vitlab.config.from_record import config_from_record
from vitlab.config.resolve import Asked
from vitlab.runs.agreement import check_agreement
from vitlab.runs.load import check_sizes
from vitlab.runs.record import Run
from vitlab.training.checkpoints import newest_checkpoint
from vitlab.training.continuing import parent_in, parent_kept_in
from vitlab.training.fit import GoingOn, fit_and_test
from vitlab.training.trainer import test_result
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


def go_on(run: Run, allowed: Container[str] = ()) -> None:
    """Finishes a run that was killed, with the result that it would have had, wherever its folder is now; a
    complete one stays. `allowed` are paths outside the folder to which the run may write too."""
    record = run.record
    if record["status"] == "completed":
        result = test_result(record["metrics"], record.get("num_tested"), record["objective"])
        log.info("%s is complete: %s", run.folder, result)
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
