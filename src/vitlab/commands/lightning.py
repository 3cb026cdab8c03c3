"""What train and test share of Lightning: building the trainer, the tone of its messages, and what the loggers are told."""

import logging
import sys
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.utilities import rank_zero_only

from vitlab.callbacks.checkpoints import CheckpointFiles
from vitlab.callbacks.progress import ProgressLines
from vitlab.commands.build import build, flatten
from vitlab.loggers import Dashboard, MetricHistory

HYPERPARAMETERS = ("model", "patch_embed", "augment", "optimizer", "schedule", "classifier", "seed")
"""What the HParams tab compares; the whole config stands beside it as text."""


def quiet_lightning() -> None:
    """Silences what Lightning says on every run; its warnings about real trouble stay."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    if rank_zero_only.rank != 0:  # one process of several speaks
        logging.getLogger().setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # whole batches come from memory: workers would only cost
        ".*smaller than the logging interval.*",  # the tally goes on across epochs
        ".*your dataloader is not resumable.*",  # the order of samples follows from the step
        ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on
        ".*module.s. in eval mode.*",  # batch norms with fixed statistics are meant to be
        ".*treespec, LeafSpec.*",  # Lightning 2.6.6 uses a name that torch 2.15 will drop
    ):
        warnings.filterwarnings("ignore", message)


class Unprofiled(Profiler):
    """Measures nothing, at no cost: Lightning's own such class opens a generator at each of some 40 places a step."""

    _context = nullcontext()

    def start(self, action_name: str) -> None: ...

    def stop(self, action_name: str) -> None: ...

    def profile(self, action_name: str) -> nullcontext:  # type: ignore[override]
        return self._context


def build_trainer(config: Mapping[str, Any]) -> pl.Trainer:
    """Builds the trainer with the config's callbacks and loggers, and a progress bar only where it would be one."""
    callbacks = [build(node) for node in config["callbacks"].values() if node]
    at_terminal = sys.stderr.isatty()
    if not at_terminal:
        callbacks.append(ProgressLines())
    loggers = [build(node) for node in config["logger"].values() if node] + [MetricHistory(config["run_dir"])]
    given = {"callbacks": callbacks, "logger": loggers, "enable_progress_bar": at_terminal, "plugins": [CheckpointFiles()]}
    if "profiler" not in config["trainer"]:
        given["profiler"] = Unprofiled()
    return build(config["trainer"], **given)


def log_config(trainer: pl.Trainer, config: Mapping[str, Any]) -> None:
    """Shows the hyper-parameters in the dashboard's table, and the whole config as text."""
    chosen = {key: config[key] for key in HYPERPARAMETERS} | {"batch_size": config["data"]["batch_size"]}
    plain = {key: value for key, value in flatten(chosen).items() if not key.rpartition(".")[2].startswith("_")}
    for logger in trainer.loggers:
        logger.log_hyperparams(plain)
        if isinstance(logger, Dashboard):
            logger.log_text("config", yaml.safe_dump(dict(config), sort_keys=False))


def end_loggers(trainer: pl.Trainer, completed: bool) -> None:
    """Tells the dashboard how the run ended."""
    for logger in trainer.loggers:
        if isinstance(logger, Dashboard):
            logger.end_session(completed)
