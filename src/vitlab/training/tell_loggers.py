"""What loggers are told of a run beside metrics: which it is, texts, its result, how it ended."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from vitlab.dashboard.tags import is_dot
from vitlab.dashboard.texts import ATTENTION, about_result, about_run
from vitlab.loggers.run_logger import Ending, RunFacts
from vitlab.loggers.tell import log_text, run_loggers
from vitlab.objectives.objective import Objective
from vitlab.quirks import uncompiled
from vitlab.runs.history import read_history
from vitlab.runs.record import Run, status_after
from vitlab.sweeps.jobs import Sweep

HYPERPARAMETERS = ("model", "patch_embed", "augment", "optimizer", "schedule", "objective", "seed")
"""Parts of a config that say what is trained and how."""

NO_SETTINGS = ("resume", "run_dir", "name", "hardware", "logger", "data.root")
"""Keys that say where a run runs and what it writes. They are no settings of an experiment."""


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


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is trained and how, by dotted key, without keys such as `_target_`."""
    chosen = {key: config[key] for key in HYPERPARAMETERS} | {"batch_size": config["data"]["batch_size"]}
    leaves = flatten(chosen).items()
    return {key: value for key, value in leaves if not key.rpartition(".")[2].startswith("_")}


def varied_in_sweep(folder: Path) -> set[str] | None:
    """Returns the keys that the sweep of the run in a folder varies, such as {"optimizer.lr", "seed"}; None
    where the run is no job of a sweep."""
    with suppress(ValueError):  # a damaged sweep.json costs a table some columns, and no training
        sweep = Sweep.load(folder.parent)
        for job in sweep.jobs if sweep else ():
            if sweep and sweep.folder_of(job) == folder:
                return set(job.varied)
    return None


def given(run: Run) -> dict[str, Any]:
    """Returns the settings of a run: the seed and what the sweep varies, or else what the command line said.
    A group is given by the name of its option, such as model: vit_tiny."""
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
        # of groups that are lists, and of null
        told[key] = value if isinstance(value, bool | int | float | str) else words
    return told


def _keep_identities(trainer: pl.Trainer, run: Run) -> None:
    """Writes into the record how each tracker finds its own run again, such as the id of a run of W&B's."""
    told = {title: logger.identity() for title, logger in run_loggers(trainer.loggers).items()}
    known = {title: identity for title, identity in told.items() if identity}
    if known != run.record.get("loggers", {}):
        run.update(loggers=known)


def facts_of(run: Run, objective: Mapping[str, Any], step: int, trains: bool = True) -> RunFacts:
    """Returns what a run's loggers are told of it at a start, from its record; `objective` has the facts of
    its objective."""
    config = run.record["config"]
    settings, chosen = (given(run), hyperparameters(config)) if trains else ({}, {})
    sweep = run.folder.parent.name if varied_in_sweep(run.folder) is not None else None
    parent = run.record.get("parent", {}).get("folder")
    return RunFacts(run.folder, step, config, objective, settings, chosen, sweep, parent)


@rank_zero_only
def begin_loggers(
    trainer: pl.Trainer, run: Run, objective: Objective, step: int = 0, trains: bool = True
) -> None:
    """Tells each logger which run this is, and keeps in the record how each tracker finds its own run
    again."""
    facts = facts_of(run, objective.facts(), step, trains)
    _keep_identities(trainer, run)
    for logger in run_loggers(trainer.loggers).values():
        logger.begin(facts)
    _keep_identities(trainer, run)


def log_about(trainer: pl.Trainer, run: Run, model: nn.Module, class_names: Sequence[str]) -> None:
    """Writes what run this is, how to read its numbers, and its config."""
    config, record = run.record["config"], run.record
    name = type(uncompiled(model)).__name__
    log_text(trainer.loggers, "run", about_run(record, name, record["parameters"], class_names, run.folder))
    if config["callbacks"].get("attention"):
        log_text(trainer.loggers, "attention", ATTENTION.read_text(encoding="utf-8"))
    lines = yaml.safe_dump(dict(config), sort_keys=False).splitlines()
    log_text(trainer.loggers, "config", "\n".join("    " + line for line in lines))


def result_of(
    folder: Path,
    metrics: Mapping[str, float],
    num_validated: int | None,
    num_tested: int | None,
    shares: Sequence[str],
) -> str:
    """Returns a page on what the run in a folder reached, with what its history alone knows."""
    told_in_words = {name: value for (_, name), value in read_history(folder).items() if is_dot(name)}
    return about_result({**metrics, **told_in_words}, num_validated, num_tested, shares)


@rank_zero_only
def log_result(
    trainer: pl.Trainer,
    folder: Path,
    metrics: Mapping[str, float],
    num_validated: int | None,
    num_tested: int,
    shares: Sequence[str],
) -> None:
    """Writes what the run in a folder reached."""
    log_text(trainer.loggers, "result", result_of(folder, metrics, num_validated, num_tested, shares))


@rank_zero_only
def _end(trainer: pl.Trainer, run: Run, ending: Ending) -> None:
    for logger in run_loggers(trainer.loggers).values():
        logger.end(ending)
    _keep_identities(trainer, run)  # which know what is missing now


@contextmanager
def told_how_it_ends(trainer: pl.Trainer, run: Run) -> Iterator[None]:
    """Tells the loggers how the block ended, whatever way that is, and the record which of them could not
    hear it."""
    try:
        yield
    except BaseException as error:
        _end(trainer, run, status_after(error))
        raise
    _end(trainer, run, "completed")
