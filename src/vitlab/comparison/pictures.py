"""Pictures of what settings do to the metric: one by one, by their importance, and all together."""

from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vitlab.comparison.curves import as_shown
from vitlab.comparison.entries import Comparison, Entry, comparable
from vitlab.comparison.tables import shorten

MAX_SIDE_BY_SIDE = 4
"""Above this many, numbers stand to scale."""


def _sorted_values(values: Sequence[str]) -> list[str]:
    """Returns each value once: numbers by size, then words. 1e-3 and 0.001 are one value."""
    once = {comparable(value): value for value in values}
    return [once[value] for value in sorted(once, key=lambda value: (isinstance(value, str), value))]


def _is_to_scale(values: Sequence[str]) -> bool:
    """Tells whether a setting's values stand to scale: many numbers, though some runs may have none."""
    are_numbers = all(isinstance(comparable(value), float) for value in values if value)
    return len(values) > MAX_SIDE_BY_SIDE and are_numbers


def _is_wide(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0 and max(numbers) / min(numbers) > 20


def _places(axes: Axes, values: Sequence[str]) -> dict[float | str, float]:
    """Labels an axis with a setting's values and returns their places: to scale or else side by side."""
    once = _sorted_values(values)
    if _is_to_scale(once):
        numbers = [float(value) for value in once if value]
        if _is_wide(numbers):
            axes.set_xscale("log")
        return {number: number for number in numbers}
    turned = (30, "right") if sum(len(shorten(value)) for value in once) > 40 else (0, "center")
    labels = [as_shown(value) or "(none)" for value in once]
    axes.set_xticks(range(len(once)), labels, rotation=turned[0], ha=turned[1])
    axes.set_xlim(-0.5, len(once) - 0.5)
    return {comparable(value): float(index) for index, value in enumerate(once)}


def _runs_and_settings(comparison: Comparison) -> tuple[list[tuple[Entry, float]], list[str]]:
    """Returns each completed run with what it reached, and the settings in which these runs differ."""
    reached = [(entry, comparison.reached(entry)) for entry in comparison.entries]
    runs = [(entry, value) for entry, value in reached if value is not None]

    def differ(key: str) -> bool:
        return len({comparable(comparison.value(entry, key)) for entry, _ in runs}) > 1

    return runs, list(filter(differ, comparison.parameters))


def parameters_figure(comparison: Comparison) -> Figure | None:
    """Draws the metric against each varied setting: a dot a completed run, a line through the means."""
    runs, keys = _runs_and_settings(comparison)
    if not keys:
        return None
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.4 * rows), layout="constrained")
    first: Axes | None = None
    for index, key in enumerate(keys):
        axes = figure.add_subplot(rows, columns, index + 1, sharey=first)
        first = first or axes
        values = [comparison.value(entry, key) for entry, _ in runs]
        places = _places(axes, values)
        points = [
            (places[comparable(told)], reached)
            for told, (_, reached) in zip(values, runs, strict=True)
            if comparable(told) in places
        ]
        at, heights = zip(*points, strict=True)
        axes.plot(at, heights, "o", color="#3b6ea5", alpha=0.55, markeredgecolor="none", label="a run")
        there = sorted(set(at))
        if 2 * len(there) <= len(points):
            means = [mean(reached for here, reached in points if here == place) for place in there]
            axes.plot(there, means, "-_", color="#c44e52", markersize=14, linewidth=1, label="mean")
        axes.set_xlabel(as_shown(key))
        axes.grid(alpha=0.25)
        if index % columns == 0:
            axes.set_ylabel(as_shown(comparison.metric))
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), fontsize=8, loc="outside upper right", ncols=2)
    return figure


def importance_figure(shares: Mapping[str, float]) -> Figure:
    """Draws each setting's share of what mattered."""
    names = list(shares)[::-1]
    figure = Figure(figsize=(7.0, 1.0 + 0.4 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(range(len(names)), [shares[name] for name in names], color="#3b6ea5")
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), [as_shown(name) for name in names])
    axes.set(xlim=(0.0, 1.1), xlabel="importance (functional ANOVA)")
    return figure


def parallel_figure(comparison: Comparison) -> Figure | None:
    """Draws each completed run as a line through its settings to its result, in the colour of the result."""
    runs, keys = _runs_and_settings(comparison)
    if len(runs) < 2 or not keys:
        return None
    figure = Figure(figsize=(2.2 + 1.9 * (len(keys) + 1), 4.6), layout="constrained")
    axes = figure.add_subplot()
    heights = [_heights([comparison.value(entry, key) for entry, _ in runs]) for key in keys]
    reached = np.array([value for _, value in runs])
    low, high = float(reached.min()), float(reached.max())
    span = (high - low) or 1.0
    good = (reached - low) / span if comparison.direction == "maximize" else (high - reached) / span
    for index in np.argsort(good):
        line = [height[index] for height, _ in heights] + [(reached[index] - low) / span]
        colour = colormaps["viridis"](0.92 * good[index])
        axes.plot(range(len(line)), line, color=colour, linewidth=1.4, alpha=0.8)
    for place in range(len(keys) + 1):
        axes.axvline(place, color="#888888", linewidth=0.8, zorder=0)
    for place, (_, ticks) in enumerate([*heights, ([], [(f"{low:.4g}", 0.0), (f"{high:.4g}", 1.0)])]):
        for text, height in ticks:
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
            axes.text(place + 0.03, height, text, fontsize=8, va="center", bbox=box)
    names = [as_shown(name) for name in [*keys, comparison.metric]]
    names = [name.replace(".", ".\n") if len(name) > 14 else name for name in names]
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xticks(range(len(keys) + 1), names, fontsize=9)
    axes.set(yticks=[], xlim=(-0.1, len(keys) + 0.35), ylim=(-0.14, 1.06))
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def _heights(values: Sequence[str]) -> tuple[list[float], list[tuple[str, float]]]:
    """Returns where values stand on an axis from 0 to 1, with its ticks; a missing number stands below."""
    once = _sorted_values(values)
    if _is_to_scale(once):
        numbers = np.array([float(value) for value in once if value])
        scaled = np.log(numbers) if _is_wide(numbers.tolist()) else numbers
        places = (scaled - scaled[0]) / (scaled[-1] - scaled[0])
        shown = [int(np.abs(places - height).argmin()) for height in (0, 0.25, 0.5, 0.75, 1)]
        ticks = [(f"{numbers[index]:.3g}", float(places[index])) for index in dict.fromkeys(shown)]
        if "" in once:
            once = [*(value for value in once if value), ""]
            places = np.append(places, -0.1)
            ticks.append(("(none)", -0.1))
    else:
        places = np.linspace(0.0, 1.0, len(once)) if len(once) > 1 else np.array([0.5])
        names = [as_shown(value) or "(none)" for value in once]
        ticks = list(zip(names, map(float, places), strict=True))
    at = {comparable(value): float(place) for value, place in zip(once, places, strict=True)}
    return [at[comparable(value)] for value in values], ticks
