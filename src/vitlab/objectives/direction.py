"""Which way is better for a metric, by its name alone: lists and sweeps ask before anything heavy is
imported."""

from typing import Literal

LESS_IS_BETTER = frozenset({"loss", "ece", "nll", "brier", "mse", "rmse", "mae", "hamming"})


def mode_of(metric: str) -> Literal["min", "max"]:
    """Returns `max` for `val/accuracy` and `best/val/f1_macro`, `min` for `val/loss`."""
    return "min" if metric.rpartition("/")[2] in LESS_IS_BETTER else "max"
