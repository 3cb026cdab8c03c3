"""A report as files: one page with everything in it, the tables as CSV and Markdown, the pictures as PNG."""

import shlex
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from vitlab.checkpoint.sealed import writing
from vitlab.pages.page import base64_text, page
from vitlab.report.collect import Comparison
from vitlab.report.groups import best
from vitlab.report.importance import importance
from vitlab.report.pictures import curves_figure, importance_figure, parallel_figure, parameters_figure
from vitlab.report.tables import Row, as_csv, as_markdown, entry_rows, failure_rows, group_rows
from vitlab.words import in_html, in_markdown, plain

DPI, SCREEN_DPI = 120, 80

CAPTIONS = {
    "parameters": "What was reached with each value of each setting, whatever the others were.",
    "curves": "How it went. A cross marks a run that did not come to its end.",
    "importance": "How much of the differences between the completed runs each setting explains (functional ANOVA); few runs say little.",
    "parallel": "Each line is a completed run; the brighter, the better.",
}


def summary_lines(comparison: Comparison) -> list[str]:
    """Returns what to know first: how many runs ended how, at which cost, and the best configuration with its command."""
    entries = comparison.entries
    counts = dict.fromkeys(entry.status for entry in entries)
    statuses = ", ".join(f"{sum(entry.status == status for entry in entries)} {status}" for status in counts)
    lines = [f"{len(entries)} runs: {statuses}; {sum(entry.seconds for entry in entries):.0f} s in all"]
    if (found := best(comparison)) is None:
        return [*lines, "no run completed, so none is the best"]
    member, entry = found
    settings = " ".join(f"{key}={value}" for key, value in zip(comparison.parameters, member.values, strict=True) if value)
    lines.append(f"best by {comparison.metric}: {member.summary(comparison.metric)} with {settings or 'the settings of all'}")
    if comparison.metric.startswith("test/"):
        lines.append("it was chosen by its test, so what it reached there is too good; validation is what to choose by")
    if len(member.entries) > 1:
        lines.append(
            f"of its {len(member.entries)} runs the best is {entry.label}: {entry.metrics[comparison.metric]:.4f}, in {entry.folder}"
        )
    return [plain(line) for line in [*lines, f"to train it again: {shlex.join(entry.command)}"]]


def figures(comparison: Comparison) -> tuple[dict[str, Figure], list[str]]:
    """Returns the pictures that can be drawn, by name, and why some cannot."""
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


def write_report(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes report.html, report.md, runs.csv, configurations.csv and the pictures; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, notes = figures(comparison)
    pictures = {name: _png(figure) for name, figure in drawn.items()}
    contents = {
        "report.html": _html(comparison, pictures, notes).encode(),
        "report.md": _markdown(comparison, list(pictures), notes).encode(),
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


def _markdown(comparison: Comparison, pictures: list[str], notes: list[str]) -> str:
    parts = ["# Report", *(f"- {in_markdown(line)}" for line in summary_lines(comparison)), as_markdown(*group_rows(comparison))]
    header, failures = failure_rows(comparison)
    if failures:
        parts += ["## Not completed", as_markdown(header, failures)]
    return "\n\n".join([*parts, *(f"![{CAPTIONS[name]}]({name}.png)" for name in pictures), *map(in_markdown, notes)]) + "\n"


def _table(header: Row, rows: list[Row]) -> str:
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    head = "".join(f"<th>{in_html(header[index])}</th>" for index in kept)
    body = "".join("<tr>" + "".join(f"<td>{in_html(row[index])}</td>" for index in kept) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _html(comparison: Comparison, pictures: Mapping[str, bytes], notes: list[str]) -> str:
    first, *lines = summary_lines(comparison)
    told = "".join(f"<p>{in_html(line)}</p>" for line in lines)
    body = f'<main><header><h1>{in_html(first)}</h1></header><section class="card">{told}</section>'
    body += f'<section class="card"><h2>Configurations, the best first</h2>{_table(*group_rows(comparison))}</section>'
    header, failures = failure_rows(comparison)
    if failures:
        body += f'<section class="card"><h2>Not completed</h2>{_table(header, failures)}</section>'
    for name, content in pictures.items():
        width = Image.open(BytesIO(content)).width * SCREEN_DPI // DPI
        image = f'<img alt="{in_html(CAPTIONS[name])}" width="{width}" src="data:image/png;base64,{base64_text(content)}">'
        told = f'<h2>{name.capitalize()}</h2><p class="faint">{in_html(CAPTIONS[name])}</p>'
        body += f'<section class="card">{told}<div class="scroll">{image}</div></section>'
    body += "".join(f'<p class="faint">{in_html(note)}</p>' for note in notes)
    return page("vitlab report", body + "</main>")
