"""What a report compares: the jobs of sweeps and single runs, found in folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vitlab.command_line import own_configs
from vitlab.comparison.entries import Comparison, Entry
from vitlab.runs.status import read_record, status_of
from vitlab.sweeps.jobs import Job, Sweep

LOSS = ("val/loss", "minimize")
"""What runs are compared by where neither a sweep nor an objective says it."""


def collect(folders: Sequence[Path], metric: str | None = None, direction: str | None = None) -> Comparison:
    """Returns the comparison of all jobs and runs in the folders and below, each once. Jobs of a damaged
    sweep.json count as single runs. Raises ValueError for a folder that holds none, and, unless a metric is
    given, where two sweeps look for different ones."""
    entries: list[Entry] = []
    commands: list[str] = []
    names: list[str] = []
    goals = set()
    notes: list[str] = []
    for folder in folders:
        found = list(_sweeps(folder, notes))
        sweeps = [sweep.folder for sweep in found]
        for sweep in found:
            goals.add((sweep.facts["metric"], sweep.facts["direction"]))
            entries += _jobs(sweep, "" if len(folders) + len(found) == 2 else f"{sweep.folder.name}/")
            commands.append(sweep.facts.get("command") or "")
        files = sorted(folder.rglob("run.json"))
        runs = [file.parent for file in files if not any(top in file.parents for top in sweeps)]
        entries += [_run(run, folder) for run in runs]
        names.append(name_of(folder, is_sweep=folder in sweeps))
        if not found and not runs:
            raise ValueError(
                f"{folder} holds no sweep and no run; outputs/<name>/<sweep> or a run's folder would work"
            )
    entries = list({entry.folder.resolve(): entry for entry in reversed(entries)}.values())[::-1]
    if metric is None and len(goals) > 1:
        raise ValueError(
            f"the sweeps look for different things ({', '.join(sorted(goal for goal, _ in goals))}); say"
            " which: --metric NAME"
        )
    goals = goals or {_goal_of(entry) for entry in entries if entry.metrics}
    goal = goals.pop() if len(goals) == 1 else LOSS
    chosen = metric or goal[0]
    if direction is None:
        direction = goal[1] if chosen == goal[0] else "minimize" if chosen.endswith("loss") else "maximize"
    completed = [entry for entry in entries if entry.status == "completed"]
    if completed and not any(chosen in entry.metrics for entry in completed):
        line = f"no run has the metric {chosen}; there are {', '.join(completed[0].metrics) or 'none'}"
        if metric is not None:
            raise ValueError(line)
        notes.append(line)  # how the jobs ended is worth a table all the same
    comparison = Comparison(entries, chosen, direction, " and ".join(names), list(filter(None, commands)))
    comparison.notes = notes
    return comparison


def _sweeps(folder: Path, notes: list[str]) -> Iterator[Sweep]:
    """Yields the sweeps in a folder and below, and notes those whose file is damaged."""
    for file in sorted(folder.rglob("sweep.json")):
        try:
            sweep = Sweep.load(file.parent)
        except ValueError as error:
            notes.append(f"{error}; its jobs are taken as runs of their own")
            continue
        if sweep is not None:
            sweep.look_at_all()
            yield sweep


def _goal_of(entry: Entry) -> tuple[str, str]:
    """Returns the metric that chose a run's best checkpoint, and whether a high or a low value is better."""
    chooser = (entry.config.get("callbacks") or {}).get("best") or {}
    best = next((metric for metric in entry.metrics if metric.startswith("best/")), None)
    if best is None:
        return LOSS
    usual = "min" if best.endswith("loss") else "max"
    mode = chooser.get("mode", usual) if chooser.get("monitor") == best.removeprefix("best/") else usual
    return best, "minimize" if mode == "min" else "maximize"


def name_of(folder: Path, is_sweep: bool) -> str:
    """Returns a folder's title: "Sweep rates of digits_vit" for the sweep in outputs/digits_vit/rates."""
    place = folder.resolve()
    return f"Sweep {place.name} of {place.parent.name}" if is_sweep else place.name


def _jobs(sweep: Sweep, prefix: str) -> list[Entry]:
    options = ["--config-dir", sweep.facts["config_dir"]] if sweep.facts.get("config_dir") else []
    entries = []
    current = {_same(job) for job in sweep.jobs if _common(job) == sweep.facts.get("overrides")}
    for job in sweep.jobs:
        folder = sweep.folder_of(job)
        record = read_record(folder) or {}
        reached = (job.status, job.reason, job.seconds, job.metrics)
        told = (record.get("config", {}), record.get("choices", {}), record.get("started", ""))
        is_old = job.status != "completed" and _common(job) != sweep.facts.get("overrides")
        corrected = is_old and _same(job) in current
        what = (f"{prefix}{job.number}", folder, job.overrides, options)
        entries.append(Entry(*what, *reached, *told, corrected))
    return entries


def _same(job: Job) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(job.varied.items()))


def _common(job: Job) -> list[str]:
    """Returns the overrides that a job shares with the others of its command."""
    own = {f"{key}={value}" for key, value in job.varied.items()}
    return [override for override in job.overrides if override.lstrip("+") not in own]


def _run(folder: Path, top: Path) -> Entry:
    record, status = read_record(folder), status_of(folder)
    label = str(folder.relative_to(top)) if folder != top else folder.name
    if record is None or status is None:
        return Entry(label, folder, [], [], "damaged", "run.json cannot be read", 0.0, {}, {}, {})
    overrides = [override for override in record.get("overrides", []) if not override.startswith("resume=")]
    reached = (record.get("reason"), record.get("seconds") or 0.0, record.get("metrics") or {})
    told = (record.get("config", {}), record.get("choices", {}), record.get("started", ""))
    return Entry(label, folder, overrides, own_configs(record), status, *reached, *told)
