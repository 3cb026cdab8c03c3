"""What the loggers are told of a run beside its metrics: settings, texts, the layout of charts, its result
and how it ended."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from torch import nn

from vitlab.dashboard.tags import layout
from vitlab.dashboard.texts import ATTENTION, about_result, about_run
from vitlab.loggers import Dashboard
from vitlab.quirks import uncompiled
from vitlab.runs.record import Run
from vitlab.sweeps.jobs import Sweep

HYPERPARAMETERS = ("model", "patch_embed", "augment", "optimizer", "schedule", "objective", "seed")
"""What loggers other than the dashboard are told."""

NO_SETTINGS = ("resume", "run_dir", "name", "hardware", "logger", "data.root")
"""Where a run runs and what it writes."""


def flatten(node: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Returns the leaves by dotted key; lists become text."""
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            leaves |= flatten(value, here)
        else:
            leaves[here] = value if isinstance(value, bool | int | float | str) else str(value)
    return leaves


def varied_in_sweep(folder: Path) -> set[str] | None:
    """Returns the keys that differ between the jobs of the sweep that a run's folder is a job of; None where
    it is none's."""
    with suppress(ValueError):  # a damaged sweep.json costs a table some columns, and no training
        sweep = Sweep.read(folder.parent)
        for job in sweep.jobs if sweep else ():
            if sweep and sweep.folder_of(job) == folder:
                return set(job.varied)
    return None


def given(run: Run) -> dict[str, Any]:
    """Returns the columns of the HParams tab: the seed and what the sweep varies, or else what the command
    line said.

    Groups are there by their option's name.
    """
    record, config, varied = run.record, run.record["config"], varied_in_sweep(run.folder)
    told: dict[str, Any] = {"seed": config["seed"]}
    for override in record.get("overrides", []):
        key, _, words = override.partition("=")
        key = key.lstrip("+")
        if key in NO_SETTINGS or key.startswith(("~", *(f"{name}." for name in NO_SETTINGS))):
            continue
        if varied is not None and key not in varied:
            continue
        value: Any = record.get("choices", {}).get(key, config)
        if value is config:
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        told[key] = (
            value if isinstance(value, bool | int | float | str) else words
        )  # of groups that are lists, and of null
    return told


def log_config(trainer: pl.Trainer, run: Run) -> None:
    """Tells each logger the run's hyper-parameters."""
    config = run.record["config"]
    chosen = {key: config[key] for key in HYPERPARAMETERS} | {"batch_size": config["data"]["batch_size"]}
    plain = {
        key: value for key, value in flatten(chosen).items() if not key.rpartition(".")[2].startswith("_")
    }
    for logger in trainer.loggers:
        if isinstance(logger, Dashboard):
            logger.log_hyperparams(given(run))
        else:
            logger.log_hyperparams(plain)


def open_dashboard(trainer: pl.Trainer, run: Run, model: nn.Module, class_names: Sequence[str]) -> None:
    """Lays out the dashboard's charts, and writes what run this is."""
    config, record = run.record["config"], run.record
    has_attention = bool(config["callbacks"].get("attention"))
    name = type(uncompiled(model)).__name__
    texts = {"1_run": about_run(record, name, record["parameters"], class_names, run.folder)}
    if has_attention:
        texts["3_attention"] = ATTENTION.read_text(encoding="utf-8")
    texts["4_config"] = "\n".join(
        "    " + line for line in yaml.safe_dump(dict(config), sort_keys=False).splitlines()
    )
    for logger in trainer.loggers:
        if isinstance(logger, Dashboard):
            logger.log_layout(layout(has_attention))
            for tag, text in texts.items():
                logger.log_text(tag, text)


def log_result(
    trainer: pl.Trainer,
    metrics: Mapping[str, float],
    num_validated: int | None,
    num_tested: int,
    shares: Sequence[str],
) -> None:
    """Writes into the dashboard what the run reached."""
    for logger in trainer.loggers:
        if isinstance(logger, Dashboard):
            logger.log_text(
                "2_result", about_result({**metrics, **logger.dots}, num_validated, num_tested, shares)
            )


def end_loggers(trainer: pl.Trainer, completed: bool) -> None:
    """Tells the dashboard how the run ended."""
    for logger in trainer.loggers:
        if isinstance(logger, Dashboard):
            logger.end_session(completed)
