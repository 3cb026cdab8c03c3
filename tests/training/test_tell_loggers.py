"""How a run ended is told to its loggers, whatever way that was."""

import json
import signal
from contextlib import nullcontext

import pytest
import pytorch_lightning as pl

from vitlab.loggers.run_logger import RunLogger
from vitlab.runs.record import Interrupted, Run
from vitlab.training.tell_loggers import told_how_it_ends


class Endings(RunLogger):
    def __init__(self):
        super().__init__()
        self.heard = []

    def numbers(self, values, step):
        self.heard.append((step, values))

    def end(self, ending):
        self.heard.append(ending)

    def identity(self):
        return {"missing_from": 3} if self.heard else {}


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, "completed"),
        (ValueError("diverged"), "failed"),
        (SystemExit(3), "failed"),  # somebody's own
        (SystemExit(1), "interrupted"),  # Lightning's for Ctrl-C
        (KeyboardInterrupt(), "interrupted"),
        (Interrupted(signal.SIGTERM, "at once"), "interrupted"),
    ],
    ids=repr,
)
def test_loggers_hear_how_a_run_ended(tmp_path, error, ending):
    logger, run = Endings(), Run(tmp_path, {})
    trainer = pl.Trainer(logger=logger, accelerator="cpu", enable_checkpointing=False)
    with nullcontext() if error is None else pytest.raises(type(error)), told_how_it_ends(trainer, run):
        if error is not None:
            raise error
    assert logger.heard == [ending]
    assert json.loads((tmp_path / "run.json").read_text()) == {"loggers": {"Endings": {"missing_from": 3}}}


def test_numbers_come_without_lightnings_epoch_and_never_without_a_step():
    logger = Endings()
    logger.log_metrics({"epoch": 3, "val/loss": 0.5}, 7)
    assert logger.heard == [(7, {"val/loss": 0.5})]
    with pytest.raises(ValueError, match="numbers are logged with their step"):
        logger.log_metrics({"val/loss": 0.5})
