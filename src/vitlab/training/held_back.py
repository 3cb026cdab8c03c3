"""Runs that hold back no image for validation or for the test: what such a run says, and what it refuses."""

import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from vitlab.data.image_data import ImageData

log = logging.getLogger(__name__)

BEST = "best"
"""The callback that keeps the best checkpoint: without a validation it keeps none."""


def refuse_watchers(callbacks: Mapping[str, Any], sought: str | None = None) -> None:
    """Raises ValueError for a callback that would act by what is validated, where nothing is, and for a
    sweep's metric that is `sought` there."""
    if sought is not None and sought.removeprefix("best/").startswith("val/"):
        raise ValueError(
            f"sweep.metric={sought}: data.val_fraction=0 leaves no image to validate on, so no job would have"
            " it; data.val_fraction=0.1 would work"
        )
    for name, node in callbacks.items():
        monitor = (node or {}).get("monitor")
        if name != BEST and isinstance(monitor, str) and monitor.startswith("val/"):
            raise ValueError(
                f"callbacks.{name} watches {monitor}, and data.val_fraction=0 leaves no image to validate on;"
                f" without {name}, or with data.val_fraction=0.1, it would work"
            )


def _told(has_val: bool, has_test: bool, data: ImageData, monitor: str) -> str:
    if has_val:
        return f"data.test_fraction=0: nothing is tested; the best checkpoint is chosen by {monitor}"
    if has_test:
        what = "so no checkpoint is the best; the last weights are kept and tested"
        return f"data.val_fraction=0: nothing is validated, {what}"
    return (
        f"data.val_fraction=0 and data.test_fraction=0: all {len(data.splits['train']):,} images are trained"
        " on; nothing is validated or tested, so no checkpoint is the best, and the last weights are kept"
    )


def skip_what_is_empty(trainer: pl.Trainer, data: ImageData, config: Mapping[str, Any]) -> None:
    """Has the trainer neither validate nor test on a split without images, and says in a line what follows.
    Raises ValueError where a callback watches a validation that does not take place."""
    has_val, has_test = (len(data.splits[name]) > 0 for name in ("val", "test"))
    if has_val and has_test:
        return
    if not has_val:
        refuse_watchers(config["callbacks"])
        trainer.limit_val_batches = trainer.num_sanity_val_steps = 0
    log.warning("%s", _told(has_val, has_test, data, config["objective"]["monitor"]))
