"""`vitlab list`: the folders that commands made: what each is, how it ended, what it reached."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from vitlab.commands.help import COMMANDS
from vitlab.config.compose import EXIT_BAD_INPUT
from vitlab.runs.history import read_history
from vitlab.runs.status import last_sign, read_record, status_of, wall_seconds
from vitlab.sweeps.jobs import Sweep
from vitlab.words import plain

NO_RUNS_INSIDE = {"checkpoints", "figures", ".hydra", "pictures"}

LONGEST_NAME = 12
"""At a terminal, where the folder usually says it again."""

COLUMNS = ("began", "kind", "name", "status", "best", "took", "folder")

WRITTEN = {"predict.log": "predict", "export.log": "export", "report.html": "report"}
"""Files by which a folder without a record shows what wrote it."""

EPILOG = (
    "kind is train, test, predict, inspect, export or report, and a sweep is a heading over its jobs. "
    "took is time by the clock; of a training that was gone on with, the sum over its starts."
)


def main(arguments: Sequence[str]) -> None:
    """Prints a line a run, a sweep's jobs together, or a JSON list; damaged records are listed as such."""
    what = "Show the runs in a folder and below it."
    parser = argparse.ArgumentParser("vitlab list", description=what, epilog=EPILOG)
    which = "outputs/ (the default), an experiment, a sweep or a run"
    parser.add_argument("folder", nargs="?", default="outputs", help=which)
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    options = parser.parse_args(arguments)
    top = Path(options.folder)
    if not top.is_dir():
        print(f"vitlab: {plain(options.folder)} is no folder; `vitlab train` makes outputs/", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    runs = in_order([summary(folder) for folder in run_folders(top)])
    sweeps = {Path(run["sweep"]) for run in runs if run["sweep"]}
    for line in sorted(filter(None, (_pruned(sweep)[1] for sweep in sweeps))):
        print(f"vitlab: {plain(line)}", file=sys.stderr)
    if options.json:
        print(json.dumps(runs, indent=2))
    elif not runs:
        print(f"no runs in {plain(top)}")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(table(runs, top, width)))


def run_folders(top: Path) -> Iterator[Path]:
    """Yields every folder with a run.json, and those of predictions, exports and reports."""
    for path, folders, files in os.walk(top):
        folders[:] = sorted(set(folders) - NO_RUNS_INSIDE)
        if "run.json" in files:
            yield Path(path)
        elif not WRITTEN.keys().isdisjoint(files):
            folders.clear()
            yield Path(path)


def summary(folder: Path) -> dict[str, Any]:
    """Returns what a list says of the run in `folder`; an unreadable record is `damaged`, with a reason."""
    facts: dict[str, Any] = {"folder": str(folder), "sweep": _sweep(folder)}
    if not (folder / "run.json").is_file():
        return facts | _written(folder)
    record, status = read_record(folder), status_of(folder)
    if status == "interrupted" and facts["sweep"] and folder.name in _pruned(folder.parent)[0]:
        status = "pruned"
    if record is None or status is None:
        return facts | {"status": "damaged", "reason": "run.json cannot be read"}
    try:
        began = datetime.fromisoformat(record["started"]).astimezone(UTC)
        began.astimezone()  # as it is shown
        kind, best = _kind(record), _best(folder, record)
        seconds = wall_seconds(record, datetime.now(UTC) if status == "running" else last_sign(folder))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError) as error:
        return facts | {"status": "damaged", "reason": str(error)}
    known = {"began": began.isoformat(), "kind": kind, "name": str(record["config"].get("name") or "")}
    known |= {"status": str(status), "reason": record.get("reason"), "seconds": round(seconds, 1)}
    if isinstance(parent := record.get("parent"), dict):
        known["parent"] = str(parent.get("folder"))
    return facts | known | {"best": best and {"metric": best[0], "value": best[1]}}


def _sweep(folder: Path) -> str | None:
    files = [folder.parent / name for name in ("sweep.json", "multirun.yaml")]
    return str(folder.parent) if folder.name.isdigit() and any(map(Path.is_file, files)) else None


def _kind(record: dict[str, Any]) -> str:
    """Returns the command that made a folder with a record; what `vitlab reproduce` makes is a training."""
    words = str(record.get("command")).split()
    command = next((word for word in words[:5] if word in COMMANDS), "train")
    return command if command in ("test", "inspect") else "train"


def _written(folder: Path) -> dict[str, Any]:
    """Returns what there is to say of predictions, an export or a report, which only their files tell."""
    times = [file.stat().st_mtime for file in folder.rglob("*") if file.is_file()]
    began = datetime.fromtimestamp(min(times), UTC)
    kind = next(kind for name, kind in WRITTEN.items() if (folder / name).is_file())
    # a report's files may be written anew one by one
    took = 0.0 if kind == "report" else max(times) - min(times)
    unknown = {"name": "", "status": "written", "reason": None, "best": None}
    return {"began": began.isoformat(), "kind": kind, "seconds": round(took, 1), **unknown}


@cache
def _pruned(sweep: Path) -> tuple[set[str], str | None]:
    """Returns the names of the jobs that a sweep gave up, or why it cannot tell: their records do not."""
    try:
        found = Sweep.load(sweep)
    except ValueError as error:
        return set(), f"{error}; its jobs are shown as their own records tell"
    return {str(job.number) for job in found.jobs if job.status == "pruned"} if found else set(), None


def _best(folder: Path, record: dict[str, Any]) -> tuple[str, float] | None:
    """Returns the metric that chose the run's best checkpoint, or would have, and its best value so far.
    Where there is none, it is the most telling metric of the test."""
    metrics = record.get("metrics", {})
    for name, value in metrics.items():
        if name.startswith("best/"):
            return name.removeprefix("best/"), float(value)
    chooser = (record["config"].get("callbacks") or {}).get("best") or {}
    monitor = chooser.get("monitor")
    values = [value for (_, name), value in read_history(folder).items() if name == monitor]
    if values and isinstance(monitor, str):
        return monitor, (min if chooser.get("mode") == "min" else max)(values)
    tested = [name for name in metrics if name.startswith("test/") and "_of/" not in name]
    told = [f"test/{name}" for name in (record.get("objective") or {}).get("headline", ())]
    tested.sort(key=lambda name: (told.index(name) if name in told else len(told), name == "test/loss"))
    return (tested[0], float(metrics[tested[0]])) if tested else None


def in_order(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns runs by the time they began, a sweep's jobs at its first one's place, damaged ones first."""
    first: dict[str, str] = {}
    for run in runs:
        group = run["sweep"] or run["folder"]
        first[group] = min(first.get(group, "9"), run.get("began", ""))

    def key(run: dict[str, Any]) -> tuple[Any, ...]:
        group, number = run["sweep"] or run["folder"], Path(run["folder"]).name
        return first[group], group, int(number) if run["sweep"] else 0

    return sorted(runs, key=key)


def table(runs: Sequence[dict[str, Any]], top: Path, width: int | None) -> list[str]:
    """Returns aligned lines no longer than `width` (None: any length), a heading above each sweep's jobs."""
    cells = [_cells(run, top, LONGEST_NAME if width else None) for run in runs]
    widths = [max(len(row[column]) for row in (COLUMNS, *cells)) for column in range(len(COLUMNS) - 1)]
    lines = [_line(COLUMNS, widths, width)]
    for sweep, jobs in groupby(zip(runs, cells, strict=True), key=lambda pair: pair[0]["sweep"]):
        members = list(jobs)
        if sweep:
            statuses = [run["status"] for run, _ in members]
            counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
            lines.append(plain(f"sweep {_relative(Path(sweep), top)}: {counts}")[:width])
        lines += [_line(row, widths, width) for _, row in members]
    return lines


def _cells(run: dict[str, Any], top: Path, longest_name: int | None) -> tuple[str, ...]:
    folder = plain(_relative(Path(run["folder"]), top))
    if parent := run.get("parent"):
        folder += plain(f" from {_relative(Path(parent), top.resolve())}")
    if run["status"] == "damaged":
        return "", "", "", "damaged", "", "", folder
    best, began = run["best"], datetime.fromisoformat(run["began"]).astimezone()
    shown = f"{best['metric']} {best['value']:.4f}" if best else ""
    name, status, shown = plain(run["name"])[:longest_name], plain(run["status"]), plain(shown)
    return f"{began:%Y-%m-%d %H:%M}", run["kind"], name, status, shown, _duration(run["seconds"]), folder


def _relative(folder: Path, top: Path) -> str:
    """Returns a folder's path in `top`, or as it is where it is that folder, or lies elsewhere."""
    inside = folder != top and folder.is_relative_to(top)
    return str(folder.relative_to(top)) if inside else str(folder)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _line(row: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    """Returns a line; the folder, which comes last, loses its beginning where it would not fit."""
    line = "  ".join(
        text.rjust(size) if name == "took" else text.ljust(size)
        for name, text, size in zip(COLUMNS, row, widths, strict=False)
    )
    folder, room = row[-1], None if width is None else max(width - len(line) - 2, 8)
    if room is not None and len(folder) > room:
        folder = "…" + folder[1 - room :]
    return f"{line}  {folder}"
