"""Tables of jobs: their contents, and their form at a terminal, in Markdown and as CSV."""

import csv
from collections.abc import Sequence
from io import StringIO

from vitlab.comparison.entries import FOLD, SEED, Comparison, Entry
from vitlab.comparison.groups import group
from vitlab.sweeps.jobs import Sweep
from vitlab.words import in_cell, in_markdown, plain

Row = Sequence[str]


def shown_metrics(comparison: Comparison) -> list[str]:
    """Returns the metrics of a table: what ranks runs, what chose checkpoints, losses, and the test."""
    metrics = [metric for entry in comparison.entries for metric in entry.metrics]
    best = dict.fromkeys(metric for metric in metrics if metric.startswith("best/"))
    tests = [f"test/{metric.rpartition('/')[2]}" for metric in best]
    return list(dict.fromkeys([comparison.metric, *best, "val/loss", *tests, "test/loss"]))


def shorten(value: str) -> str:
    """Returns a setting as a table shows it: a drawn number to four digits (0.001235), others as they are."""
    try:
        number = float(value)
    except ValueError:
        return value
    return f"{number:.4g}" if len(value) > 7 and "." in value else value


def job_rows(sweep: Sweep) -> tuple[Row, list[Row]]:
    """Returns the heading and a row for each job of a sweep: its settings, how it ended, what it reached."""
    keys = list(dict.fromkeys(key for job in sweep.jobs for key in job.varied))
    metric = sweep.facts["metric"]
    rows = []
    for job in sweep.jobs:
        value = job.metrics.get(metric)
        reached = "" if value is None else f"{value:.4f}"
        settings = [shorten(job.varied.get(key, "")) for key in keys]
        rows.append([str(job.number), *settings, job.status, reached, f"{job.seconds:.0f}", job.reason or ""])
    return ["job", *keys, "status", metric, "seconds", "reason"], rows


def group_rows(comparison: Comparison) -> tuple[Row, list[Row]]:
    """Returns the heading and a row for each configuration, the best first: metrics, statuses, cost, runs."""
    metrics = shown_metrics(comparison)
    rows: list[Row] = [
        [
            *map(shorten, member.values),
            *(member.summary(metric) for metric in metrics),
            member.over(comparison.metric),
            member.statuses(),
            f"{sum(entry.seconds for entry in member.entries):.0f}",
            ", ".join(entry.label for entry in member.entries),
        ]
        for member in group(comparison)
    ]
    return [*comparison.parameters, *metrics, "mean over", "runs", "seconds", "which"], rows


def entry_rows(comparison: Comparison) -> tuple[Row, list[Row]]:
    """Returns the heading and a row for each run, with every metric, for a spreadsheet."""
    metrics = list(dict.fromkeys(metric for entry in comparison.entries for metric in entry.metrics))
    has_folds = any(entry.num_folds is not None for entry in comparison.entries)
    repeated = [SEED, FOLD] if has_folds else [SEED]
    keys = list(dict.fromkeys([*comparison.varied, *repeated]))
    rows = []
    for entry in comparison.entries:
        values = [repr(entry.metrics[metric]) if metric in entry.metrics else "" for metric in metrics]
        settings = comparison.values(entry, keys)
        rows.append(
            [
                entry.label,
                *settings,
                entry.status,
                str(entry.seconds),
                entry.reason or "",
                *values,
                str(entry.folder),
            ]
        )
    return ["run", *keys, "status", "seconds", "reason", *metrics, "folder"], rows


def failed(comparison: Comparison) -> list[Entry]:
    return [entry for entry in comparison.entries if entry.status != "completed"]


def failure_rows(comparison: Comparison) -> tuple[Row, list[Row]]:
    """Returns the heading and a row for each run that did not complete."""
    rows = []
    for entry in failed(comparison):
        told = {key: comparison.value(entry, key) for key in comparison.varied}
        settings = " ".join(f"{key}={shorten(value)}" for key, value in told.items() if value)
        status = f"{entry.status}, since corrected" if entry.corrected else entry.status
        rows.append([entry.label, settings, status, entry.reason or ""])
    return ["run", "settings", "status", "reason"], rows


def as_text(header: Row, rows: Sequence[Row]) -> str:
    """Returns aligned columns. Empty ones are left out."""
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    table = [[plain(row[index]) for index in kept] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(kept))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return "\n".join([lines[0], "-" * min(len(max(lines, key=len)), 160), *lines[1:]])


def as_markdown(header: Row, rows: Sequence[Row]) -> str:
    def line(cells: Row) -> str:
        return "| " + " | ".join(in_markdown(cell).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])


def as_csv(header: Row, rows: Sequence[Row]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([list(map(in_cell, row)) for row in (header, *rows)])
    return text.getvalue()
