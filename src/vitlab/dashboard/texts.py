"""What TensorBoard's Text tab says of a run, in Markdown: what it is, what it reached, and how to read the
numbers on attention."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitlab.command_line import train_words, wrapped
from vitlab.uncertainty import likely_range
from vitlab.words import in_markdown, plain

ATTENTION = Path(__file__).with_name("attention.md")

MOST_CLASSES = 30
"""Rows of a table of classes: those that were recognised worst."""

TABS = (
    "Where to look: **Custom Scalars** has loss and accuracy, training and validation in one chart each;"
    " **Images** begins with the most confident mistakes; **HParams** is a table of all runs. Diagnostics"
    " come last in every tab."
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
    command = "\n".join(f"    {plain(line)}" for line in wrapped(train_words(record.get("overrides", []))))
    return "\n\n".join([title, command, table(("what", "value"), rows), TABS])


def about_result(
    metrics: Mapping[str, float], num_validated: int | None, num_tested: int | None, shares: Sequence[str]
) -> str:
    """Returns what a run reached: accuracies with their uncertainty, each class's, and what is left of maps
    when weights are destroyed.

    `shares` are the metrics that are a share of the images.
    """
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
    return "\n\n".join([*parts, *_classes(metrics), *_cascade(metrics)])


def _classes(metrics: Mapping[str, float]) -> Iterator[str]:
    accuracies = {
        name.partition("_of/")[2]: value
        for name, value in metrics.items()
        if name.startswith("test/accuracy_of/")
    }
    if not accuracies:
        return
    worst = sorted(accuracies.items(), key=lambda item: item[1])[:MOST_CLASSES]
    more = f", the worst {len(worst)} of {len(accuracies)}" if len(worst) < len(accuracies) else ""
    yield f"### Test accuracy of each class{more}"
    yield table(("class", "accuracy"), [(_cell(name), f"{value:.1%}") for name, value in worst])


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
