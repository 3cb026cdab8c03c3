"""Going on with a run that was killed, as if it had not been."""

import logging
from collections.abc import Container

from vitlab.config.from_record import config_from_record
from vitlab.runs.agreement import check_agreement
from vitlab.runs.load import check_sizes
from vitlab.runs.record import Run
from vitlab.training.checkpoints import newest_checkpoint
from vitlab.training.fit import GoingOn, fit_and_test
from vitlab.training.trainer import test_result
from vitlab.weights.sources import read_weights

log = logging.getLogger(__name__)


def go_on(run: Run, allowed: Container[str] = ()) -> None:
    """Ends a run that was killed as if it had not been, also in another folder than it began in; one that is
    complete stays as it is.

    `allowed` are places outside the folder where it may write too.
    """
    if run.record["status"] == "completed":
        log.info(
            "%s is complete: %s",
            run.folder,
            test_result(run.record["metrics"], run.record.get("num_tested"), run.record["objective"]),
        )
        return
    config = config_from_record(run.record, run.folder / "run.json", run.folder, allowed=allowed)
    checkpoint = newest_checkpoint(run.folder / "checkpoints")
    if checkpoint:
        check_agreement(run, config, checkpoint)
        check_sizes(checkpoint[1], checkpoint[0])
    source = config["model"].get("weights")
    weights = read_weights(source) if source and not checkpoint else None
    fit_and_test(config, run.folder, weights, going_on=GoingOn(run, checkpoint))
