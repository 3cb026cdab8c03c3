"""Validation curves of many runs, by configuration: the mean over seeds, and how far the seeds reach."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from vitlab.comparison.entries import Comparison, Curve
from vitlab.comparison.groups import Group, group
from vitlab.comparison.tables import shorten
from vitlab.words import plain

MAX_NAMED_CURVES = 10
"""Above this many configurations a legend would hide the curves: they are coloured by rank instead."""

Colour = tuple[float, float, float, float]


def as_shown(words: str) -> str:
    """Returns a key or a value as a figure shows it: escaped, so that $ begins no formula."""
    return plain(shorten(words)).replace("$", "\\$")


def _colours(groups: Sequence[Group]) -> list[Colour]:
    """Returns a colour for each configuration: its own of a few, else from yellow, the best, to violet."""
    if len(groups) <= MAX_NAMED_CURVES:
        return [colormaps["tab10"](index) for index in range(len(groups))]
    return [colormaps["viridis"](0.92 * (1.0 - index / (len(groups) - 1))) for index in range(len(groups))]


def _name(comparison: Comparison, member: Group) -> str:
    pairs = zip(comparison.parameters, member.values, strict=True)
    told = [f"{as_shown(key.rpartition('.')[2])}={as_shown(value)}" for key, value in pairs]
    return "  ".join(told) or "all runs"


def mean_and_reach(curves: Sequence[Curve]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Returns the steps that all curves share, with mean and sample standard deviation there."""
    steps = sorted(set.intersection(*({step for step, _ in curve} for curve in curves)))
    values = np.array([[dict(curve)[step] for step in steps] for curve in curves])
    return steps, values.mean(axis=0), values.std(axis=0, ddof=1)


def curves_figure(comparison: Comparison) -> Figure | None:
    """Draws how the metric went: each configuration's mean with a band, and a cross at an early end."""
    groups = group(comparison)
    curves = [
        [(entry, curve) for entry in member.entries if (curve := entry.curve(comparison.metric))]
        for member in groups
    ]
    if not any(curves):
        return None
    named = len(groups) <= MAX_NAMED_CURVES
    figure = Figure(figsize=(9.5, 5.0), layout="constrained")
    axes = figure.add_subplot()
    # the best on top
    for member, drawn, colour in reversed(list(zip(groups, curves, _colours(groups), strict=True))):
        label = _name(comparison, member) if named else None
        # the same run twice is one
        whole = {entry.repeat: curve for entry, curve in drawn if entry.status == "completed"}
        if len(whole) > 1:
            drawn = [(entry, curve) for entry, curve in drawn if entry.status != "completed"]
            steps, middle, reach = mean_and_reach(list(whole.values()))
            axes.fill_between(steps, middle - reach, middle + reach, color=colour, alpha=0.18, linewidth=0)
            dots = "." if len(steps) < 4 else None
            axes.plot(steps, middle, color=colour, linewidth=1.8, label=label, marker=dots)
            label = None
        for entry, curve in drawn:
            steps, values = zip(*curve, strict=True)
            dots = "." if len(curve) < 4 else None
            axes.plot(steps, values, color=colour, linewidth=1.0, alpha=0.85, label=label, marker=dots)
            label = None
            if entry.status != "completed":
                axes.plot(steps[-1], values[-1], "x", color=colour, markersize=8)
    axes.set(xlabel="optimizer step", ylabel=as_shown(comparison.metric.removeprefix("best/")))
    axes.grid(alpha=0.25)
    if named and comparison.parameters:
        handles, labels = axes.get_legend_handles_labels()
        beside = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
        axes.legend(handles[::-1], labels[::-1], fontsize=8, title="best first", **beside)
    elif not named:
        axes.set_title("yellow: the best configuration, violet: the last", fontsize=9)
    return figure
