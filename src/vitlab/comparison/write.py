"""A report as files: one page with everything in it, the tables as CSV and Markdown, the pictures as PNG."""

import shlex
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from vitlab.comparison.curves import curves_figure
from vitlab.comparison.entries import Comparison
from vitlab.comparison.groups import best
from vitlab.comparison.importance import importance
from vitlab.comparison.page import DPI, PAIRED, comparison_page
from vitlab.comparison.pictures import importance_figure, parallel_figure, parameters_figure
from vitlab.comparison.tables import as_csv, as_markdown, entry_rows, failure_rows, group_rows
from vitlab.files.atomic import writing
from vitlab.words import in_markdown, plain

WHOLE = "the whole sweep again, or on after an interruption"

CAPTIONS = {
    "parameters": "What was reached with each value of each setting, whatever the others were.",
    "curves": (
        "How it went: the mean over the seeds or folds of a configuration, in a band of one standard"
        " deviation to both sides. A thin line is a single run, with a cross where it did not come to its"
        " end."
    ),
    "importance": (
        "How much of the differences between the completed runs each setting explains (functional ANOVA); few"
        " runs say little."
    ),
    "parallel": "Each line is a completed run; the brighter, the better.",
}


def summary_lines(comparison: Comparison) -> list[str]:
    """Returns the lines to read first, and the best configuration's command."""
    return facts(comparison) + [
        plain(f"{words}: {command}") for words, command in commands_of(comparison).items() if words != WHOLE
    ]


def commands_of(comparison: Comparison) -> dict[str, str]:
    """Returns the best configuration's command, and the one that makes a sweep again or goes on with it."""
    found = best(comparison)
    commands = {"to train it again": shlex.join(found[1].command)} if found else {}
    return commands | ({WHOLE: comparison.commands[0]} if len(comparison.commands) == 1 else {})


def facts(comparison: Comparison) -> list[str]:
    """Returns how many runs ended in which way, at which cost, and which configuration is the best."""
    entries = comparison.entries
    counts = dict.fromkeys(entry.status for entry in entries)
    statuses = ", ".join(f"{sum(entry.status == status for entry in entries)} {status}" for status in counts)
    lines = [f"{len(entries)} runs: {statuses}; {sum(entry.seconds for entry in entries):.0f} s in all"]
    if corrected := sum(entry.corrected for entry in entries):
        lines.append(
            f"{corrected} of them a later command corrected: they are among those not completed, and in no"
            " configuration"
        )
    if (found := best(comparison)) is None:
        completed = any(entry.status == "completed" for entry in entries)
        return [
            *lines,
            f"no run {f'has {comparison.metric}' if completed else 'completed'}, so none is the best",
        ]
    member, entry = found
    settings = " ".join(
        f"{key}={value}" for key, value in zip(comparison.parameters, member.values, strict=True) if value
    )
    has_folds = entry.num_folds is not None
    over = f" over {member.over(comparison.metric)}" if has_folds else ""
    lines.append(
        f"best by {comparison.metric}: {member.summary(comparison.metric)}{over} with"
        f" {settings or 'the settings of all'}"
    )
    if comparison.metric.startswith("test/"):
        lines.append(
            "it was chosen by its test, so what it reached there is too good; validation is what to choose by"
        )
    if len(member.entries) > 1 and not has_folds:  # one fold's images are easier than another's
        lines.append(
            f"of its {len(member.entries)} runs the best is {entry.label}:"
            f" {entry.metrics[comparison.metric]:.4f}, in {entry.folder}"
        )
    return [plain(line) for line in lines]


def figures(comparison: Comparison) -> tuple[dict[str, Figure], list[str]]:
    """Returns the pictures that can be drawn, by name, and reasons for those that cannot."""
    shares = importance(comparison)
    notes = [*map(plain, comparison.notes), *([shares] if isinstance(shares, str) else [])]
    try:
        curves = curves_figure(comparison)
    except ValueError as error:  # of a damaged history
        curves, notes = None, [*notes, f"no curves: {error}"]
    drawn = {
        "parameters": parameters_figure(comparison),
        "curves": curves,
        "importance": importance_figure(shares) if not isinstance(shares, str) else None,
        "parallel": parallel_figure(comparison),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}, notes


def write_report(comparison: Comparison, folder: Path, paired: Sequence[str] = ()) -> list[Path]:
    """Writes report.html, report.md, runs.csv, configurations.csv and the pictures; returns the files.
    `paired` are lines on which run is better on the same test images."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, notes = figures(comparison)
    pictures = {name: _png(figure) for name, figure in drawn.items()}
    shown = {name: (content, CAPTIONS[name]) for name, content in pictures.items()}
    told, commands = facts(comparison), commands_of(comparison)
    contents = {
        "report.html": comparison_page(comparison, told, commands, shown, notes, folder, paired).encode(),
        "report.md": _markdown(comparison, list(pictures), notes, paired).encode(),
        "runs.csv": as_csv(*entry_rows(comparison)).encode(),
        "configurations.csv": as_csv(*group_rows(comparison)).encode(),
        **{f"{name}.png": content for name, content in pictures.items()},
    }
    for name, content in contents.items():
        with writing(folder / name):
            (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _markdown(comparison: Comparison, pictures: list[str], notes: list[str], paired: Sequence[str]) -> str:
    parts = [f"# {in_markdown(comparison.title)}"]
    parts.append("\n".join(f"- {in_markdown(line)}" for line in facts(comparison)))
    for words, command in commands_of(comparison).items():
        parts.append(f"{words.capitalize()}:\n\n    {plain(command)}")
    parts.append(as_markdown(*group_rows(comparison)))
    if paired:
        parts += [f"## {PAIRED}", "\n".join(f"- {in_markdown(line)}" for line in paired)]
    header, failures = failure_rows(comparison)
    if failures:
        parts += ["## Not completed", as_markdown(header, failures)]
    parts += [f"![{CAPTIONS[name]}]({name}.png)" for name in pictures]
    return "\n\n".join([*parts, *map(in_markdown, notes)]) + "\n"
