"""What TensorBoard's Text tab says of a run, in Markdown: what it is, reached, and how to read it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitlab.command_line import train_words, wrapped
from vitlab.dashboard.tags import LOSS, Tags
from vitlab.uncertainty import likely_range
from vitlab.words import in_markdown, plain

ATTENTION = Path(__file__).with_name("attention.md")

MOST_CLASSES = 30
"""Rows of a table of classes: those that were recognised worst."""

OF_EACH = re.compile(r"test/(\w+)_of/(.*)", re.DOTALL)
"""A metric of one class, such as `test/accuracy_of/cat`."""


def where_to_look(objective: Mapping[str, Any]) -> str:
    """Returns what the tabs hold, by an objective's facts."""
    tags = Tags.of_objective(objective)
    charts = " and ".join(dict.fromkeys((LOSS, tags.first)))
    pictures = f" **Images** begins with the test's {tags.pictures[0]};" if tags.pictures else ""
    return (
        f"Where to look: **Custom Scalars** has {_cell(charts)}, training and validation in one chart each;"
        f"{pictures} **HParams** is a table of all runs. Diagnostics come last in every tab."
    )


def likely(share: float, count: int | None) -> str:
    """Returns a share in percent with its 95 % interval where the number of images is known."""
    if not count:
        return f"{share:.2%}"
    low, high = likely_range(share, count)
    return f"{share:.2%} (95 %: {100 * low:.1f} to {100 * high:.1f}, from {count:,} images)"


def table(header: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def _cell(words: Any) -> str:
    return in_markdown(words).replace("|", "\\|")


def about_run(
    record: Mapping[str, Any], model_name: str, num_parameters: int, class_names: Sequence[str], folder: Path
) -> str:
    """Returns what a run is, from its record at the start."""
    config, choices = record["config"], record.get("choices", {})
    splits = record["data"]["splits"]
    shown = ", ".join(map(_cell, class_names[:12])) + (", ..." if len(class_names) > 12 else "")
    rows = [
        (
            "model",
            (
                f"{_cell(choices.get('model') or model_name)}, a {_cell(model_name)} with {num_parameters:,}"
                " parameters"
            ),
        ),
        (
            "images",
            f"{_cell(choices.get('data', 'data'))}: "
            + ", ".join(f"{split['images']:,} {name}" for name, split in splits.items()),
        ),
        ("classes", f"{len(class_names)}: {shown}"),
        ("epochs", str(config["trainer"].get("max_epochs"))),
        ("seed", str(config["seed"])),
        ("began", _cell(record["started"])),
        ("folder", _cell(folder)),
    ]
    title = f"## {_cell(config.get('name', 'run'))}"
    command = "\n".join(f"    {plain(line)}" for line in wrapped(train_words(record)))
    return "\n\n".join([title, command, table(("what", "value"), rows), where_to_look(record["objective"])])


def about_result(
    metrics: Mapping[str, float], num_validated: int | None, num_tested: int | None, shares: Sequence[str]
) -> str:
    """Returns what a run reached: `shares` of the images with their uncertainty, what was measured of each
    class, and what is left of maps when weights are destroyed."""
    counts = {"val": num_validated, "test": num_tested}
    rows = []
    for name, value in metrics.items():
        split, _, metric = name.removeprefix("best/").partition("/")
        if split not in counts or "_of/" in name:
            continue
        words = likely(value, counts[split]) if metric in shares else f"{value:.4f}"
        which = {"best": "best checkpoint, validation", "val": "last weights, validation", "test": "test"}[
            name.partition("/")[0]
        ]
        rows.append((which, _cell(metric), words))
    order = ["test", "best checkpoint, validation", "last weights, validation"]
    rows.sort(key=lambda row: order.index(row[0]))
    parts = [
        "## Result",
        table(("measured on", "metric", "value"), rows) if rows else "Nothing was measured.",
    ]
    return "\n\n".join([*parts, *_classes(metrics, shares), *_cascade(metrics)])


def _classes(metrics: Mapping[str, float], shares: Sequence[str]) -> Iterator[str]:
    """Yields a table for each metric that is measured class by class; the lowest values come first."""
    of_each: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        if found := OF_EACH.fullmatch(name):
            of_each.setdefault(found[1], {})[found[2]] = value
    for metric, values in of_each.items():
        is_share = metric in shares
        shown = sorted(values.items(), key=lambda item: item[1])[:MOST_CLASSES]
        some = f", the {'worst' if is_share else 'lowest'} {len(shown)} of {len(values)}"
        yield f"### Test {metric} of each class{some if len(shown) < len(values) else ''}"
        yield table(
            ("class", metric),
            [(_cell(name), f"{value:.1%}" if is_share else f"{value:.4f}") for name, value in shown],
        )


def _cascade(metrics: Mapping[str, float]) -> Iterator[str]:
    cells: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        if name.startswith("cascade/"):
            method, _, stage = name.removeprefix("cascade/").partition("_")
            cells.setdefault(stage, {})[method] = value
    if not cells:
        return
    methods = list(next(iter(cells.values())))
    yield "### What is left of the maps when weights are destroyed, from the head down"
    yield table(
        ("destroyed up to", *methods),
        [(stage, *(f"{row.get(each, 0):.2f}" for each in methods)) for stage, row in cells.items()],
    )
    yield (
        "Rank correlation with the map of the intact model: a map that stays near 1 does not depend on what"
        " was learnt."
    )
