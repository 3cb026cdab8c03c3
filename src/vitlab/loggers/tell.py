"""Telling all of a run's loggers at once, whoever wrote them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from vitlab.loggers.of_lightning import OfLightning
from vitlab.loggers.picture_files import file_name, write_picture
from vitlab.loggers.run_logger import RunLogger

States = Mapping[str, Mapping[str, Any]]
"""Plain data of loggers, by their titles."""


def run_loggers(loggers: Iterable[Logger]) -> dict[str, RunLogger]:
    """Returns a trainer's loggers as run loggers by their titles; a second one of a kind is `NAME 2`."""
    known: dict[str, RunLogger] = {}
    for logger in loggers:
        told = logger if isinstance(logger, RunLogger) else OfLightning.of(logger)
        title, number = told.title, 1
        while title in known:
            number += 1
            title = f"{told.title} {number}"
        known[title] = told
    return known


@rank_zero_only
def log_picture(loggers: Iterable[Logger], figures_dir: Path, name: str, content: bytes, step: int) -> None:
    """Shows a PNG or GIF file's content in every logger that takes pictures, and keeps it in `figures_dir` as
    the latest of its name."""
    write_picture(figures_dir / file_name(name, content), content)
    for logger in run_loggers(loggers).values():
        logger.picture(name, content, step)


@rank_zero_only
def log_text(loggers: Iterable[Logger], name: str, markdown: str) -> None:
    """Shows a page of Markdown in every logger that takes text."""
    for logger in run_loggers(loggers).values():
        logger.text(name, markdown)


def states(loggers: Iterable[Logger]) -> dict[str, dict[str, Any]]:
    """Returns what a checkpoint keeps of each logger; nothing in processes other than the first."""
    if rank_zero_only.rank != 0:
        return {}
    return {title: logger.state() for title, logger in run_loggers(loggers).items()}


def lost_since(loggers: Iterable[Logger], known: States) -> list[str]:
    """Returns a line for each thing that loggers have lost since a checkpoint that knows these `states`.

    Raises ValueError where a logger forbids to go on, or where a state is not such as it writes.
    """
    lines = []
    for title, logger in run_loggers(loggers).items():
        try:
            lines += logger.lost(known.get(title, {}))
        except (TypeError, LookupError, AttributeError) as error:
            raise ValueError(
                f"the checkpoint's resume.loggers.{title} is not what {title} writes ({error}); another copy"
                " would work"
            ) from error
    return lines


@rank_zero_only
def go_back(loggers: Iterable[Logger], step: int, known: States, identities: States) -> None:
    """Has each logger take up its own run, and forget what came after the step of a checkpoint."""
    for title, logger in run_loggers(loggers).items():
        if identity := identities.get(title):
            logger.resumed(identity)
        logger.go_back(step, known.get(title, {}))
