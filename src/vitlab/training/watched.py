"""Whether what is watched in training has a value on the validation images, whatever the model will say."""

import logging
from collections.abc import Mapping
from typing import Any

from vitlab.data.image_data import ImageData
from vitlab.data.sources.layout import listed
from vitlab.data.targets import counts_of
from vitlab.objectives.objective import Objective

log = logging.getLogger(__name__)


def _one_sided(data: ImageData) -> tuple[list[str], list[str]]:
    """Returns which classes no validation image has, and which all have; of numbers the constant ones."""
    labels = data.splits["val"].labels
    if labels.is_floating_point():
        same = (labels == labels[:1]).all(dim=0).tolist()
        return [], [name for name, never_changes in zip(data.class_names, same, strict=True) if never_changes]
    counts = list(zip(data.class_names, counts_of(labels, len(data.class_names)).tolist(), strict=True))
    missing, everywhere = ([name for name, count in counts if count == most] for most in (0, len(labels)))
    return missing, everywhere


def _told(data: ImageData, missing: list[str], everywhere: list[str]) -> str:
    what = "numbers never change:" if data.targets == "numbers" else "all have"
    told = [f"none has {listed(missing)}"] if missing else []
    told += [f"{what} {listed(everywhere)}"] if everywhere else []
    return f"of {len(data.splits['val']):,} validation images {' and '.join(told)}"


def check_watched(data: ImageData, objective: Objective, callbacks: Mapping[str, Any]) -> None:
    """Raises ValueError where a callback watches a metric that has no value on these validation images; says
    in a line of what metrics leave out there. That a class has no image there, the data says itself."""
    if not len(data.splits["val"]):
        return
    missing, everywhere = _one_sided(data)
    if not missing and not everywhere:
        return
    undefined = objective.undefined_on(data.splits["val"].labels)
    for name, node in callbacks.items():
        monitor = (node or {}).get("monitor")
        if isinstance(monitor, str) and monitor.removeprefix("val/") in undefined:
            is_cut = data.splits["val"].samples is data.splits["train"].samples
            ways = "a larger data.val_fraction, another data.split_seed" if is_cut else "other images in val"
            raise ValueError(
                f"callbacks.{name} watches {monitor}, which has no value where"
                f" {_told(data, missing, everywhere)}; {ways}, or monitor=val/loss would work"
            )
    if undefined:
        names = ", ".join(f"val/{name}" for name in undefined)
        log.warning("%s: no value of %s", _told(data, missing, everywhere), names)
    elif everywhere:
        log.warning("%s; metrics that compare images say nothing of that", _told(data, missing, everywhere))
