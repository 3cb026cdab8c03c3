"""`vitlab train -m ...` and `sweep=NAME`: a fresh process a job, in a folder that the command finds again."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

from vitlab.comparison.tables import as_text, job_rows
from vitlab.config.compose import COMPLAINTS, EXIT_BAD_INPUT, complain
from vitlab.config.from_record import refuse_links
from vitlab.config.sweep_check import CouldBegin, WrongJobs
from vitlab.config.sweep_plan import Plan, is_about_the_sweep, plan, quoted
from vitlab.construct import allow_from_environment, build
from vitlab.ranks import refuse_sweep
from vitlab.slurm import queue_again_if_asked
from vitlab.sweeps.engine import Engine
from vitlab.sweeps.jobs import ENDED, Job, Sweep
from vitlab.sweeps.local import Local
from vitlab.sweeps.loop import Loop, Search
from vitlab.words import plain, plain_lines

ASKS = {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info"}
ASKS |= {"-sc", "--shell-completion"}
"""Options with which Hydra answers instead of running anything."""


OF_A_SEARCH = 10
"""Jobs of a search that a cluster has at a time, where nothing else is said: more would be drawn blind."""


def is_meant(arguments: Sequence[str]) -> bool:
    """Tells whether arguments are those of a sweep."""
    return any(argument in ("-m", "--multirun") or is_about_the_sweep(argument) for argument in arguments)


def is_sweep(arguments: Sequence[str]) -> bool:
    """Tells whether `vitlab train` is to run several jobs."""
    return is_meant(arguments) and not any(argument.partition("=")[0] in ASKS for argument in arguments)


def first_job(arguments: Sequence[str]) -> list[str]:
    """Returns arguments that show the config of a sweep's first job, or those without `--cfg` as they are."""
    asks = argparse.ArgumentParser("vitlab train", add_help=False, allow_abbrev=False)
    for options in (("-c", "--cfg"), ("-p", "--package")):
        asks.add_argument(*options)
    asks.add_argument("--resolve", action="store_true")
    asked, others = asks.parse_known_args(arguments)
    if asked.cfg is None or not is_meant(others):
        return list(arguments)
    planned = plan(others)
    options = ["--config-dir", planned.config_dir] if planned.config_dir else []
    return [*(argument for argument in arguments if argument not in others), *options, *planned.example]


def could_begin() -> CouldBegin:
    """Returns what raises ValueError for a checked config that is no run's; it imports torch when called."""

    @cache
    def check() -> CouldBegin:
        from vitlab.training.assemble import StartCheck

        return StartCheck()

    return lambda config, sought, here: check()(config, sought, here)


def run_sweep(arguments: Sequence[str]) -> NoReturn:
    """Runs a sweep and ends the process. Exit status: 0 if every job completed or was pruned, 1 if not, 130
    or 143 after a signal."""
    allow_from_environment()
    try:
        refuse_sweep()
        planned = plan(arguments, could_begin())
        refuse_links(planned.folder)
        for note in planned.notes:
            print(f"vitlab: {plain(note)}", file=sys.stderr)
        sweep = Sweep.read(planned.folder) or Sweep(planned.folder, {})
        with sweep.held():
            search = take_up(sweep, planned)
            work = print_commands if planned.settings["print_commands"] else run_jobs
            status = work(sweep, planned, search)
    except WrongJobs as error:
        for line in error.lines:
            print(f"vitlab: {line}", file=sys.stderr)
        status = EXIT_BAD_INPUT
    except COMPLAINTS as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        complain(error, "train")
        status = EXIT_BAD_INPUT
    except OSError as error:
        if error.filename is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        way = "hydra.sweep.dir=DIR would put the sweep elsewhere"
        complain(ValueError(f"{error.filename}: {error.strerror}; {way}"), "train")
        status = EXIT_BAD_INPUT
    sys.exit(status)


def take_up(sweep: Sweep, planned: Plan) -> Search | None:
    """Adds the plan's jobs that the sweep does not have yet, and returns what proposes further ones. Raises
    ValueError where a search is asked for in another space, or for something else, and where a sweep.json,
    which may be a stranger's, tells a job what no sweep does."""
    for job in sweep.jobs:
        for override in job.overrides:
            if override not in planned.common and override.lstrip("+~").startswith(("-", "hydra", "resume")):
                raise ValueError(
                    f"{sweep.folder / 'sweep.json'}: job {job.number} has {override}, which no sweep gives"
                    " its jobs"
                )
    facts = planned.facts()
    fixed = ("space", "overrides", "metric", "direction") if planned.is_search else ("space",)
    if sweep.jobs and any(sweep.facts.get(key) != facts[key] for key in fixed):
        raise ValueError(
            f"{sweep.folder} holds another sweep: {sweep.facts.get('command')}; give another sweep.name or"
            " hydra.sweep.dir"
        )
    sweep.facts = facts
    known = {tuple(job.overrides) for job in sweep.jobs}
    new = [job for job in planned.grid if tuple(job.overrides) not in known]
    for job in new:
        job.number = len(sweep.jobs)
        sweep.jobs.append(job)
    search = search_of(sweep, planned) if planned.is_search else None
    if planned.settings["retry_failed"]:
        for job in sweep.jobs:
            job.status = "waiting" if job.status == "failed" else job.status
    sweep.write()
    return search


def search_of(sweep: Sweep, planned: Plan) -> Search:
    """Returns Optuna's search, with all that it learned so far."""
    from vitlab.sweeps.search import OptunaSearch

    chosen = {key: planned.settings[key] for key in ("num_jobs", "seed", "sampler", "pruner")}
    return OptunaSearch(sweep, planned.space, planned.job, **chosen)


def command_of(job: Job, sweep: Sweep, planned: Plan) -> list[str]:
    """Returns the command of one job: a run with a folder of its own, which knows nothing of the sweep."""
    options = ["--config-dir", planned.config_dir] if planned.config_dir else []
    place = f"hydra.run.dir={quoted(str(sweep.folder_of(job)))}"
    return [sys.executable, "-P", "-m", "vitlab.cli", "train", *options, *job.overrides, place, "resume=auto"]


def print_commands(sweep: Sweep, planned: Plan, search: Search | None) -> int:
    """Prints a line for each job that has not ended, of a search for all that it proposes without knowing how
    any went. What a job prints goes to its log, as it does under an engine."""
    while search is not None and search.ask():
        sweep.write()
    lines = []
    for job in sweep.jobs:
        if job.status not in ENDED:
            (log := sweep.log_of(job)).parent.mkdir(exist_ok=True)
            words = command_of(job, sweep, planned)
            lines.append(f"{shlex.join(words)} >>{shlex.quote(str(log))} 2>&1")
            if broken := [word for word in [*words, str(log)] if "\n" in word]:
                raise ValueError(
                    f"job {job.number}: {broken[0]!r} has a line break, and a printed line is a job; without"
                    " sweep.print_commands it would run"
                )
    for line in lines:
        print(line)
    return 0


def own_engine(settings: Mapping[str, Any], common: tuple[Any, ...]) -> Engine:
    """Returns the engine of a user's own package. Raises ValueError where it is none, or cannot do what is
    asked of it."""
    node = settings["engine"]
    engine = build(node, "sweep", **dict(zip(("sweep", "command_of", "say"), common, strict=True)))
    if not isinstance(engine, Engine):
        raise ValueError(
            f"sweep.engine._target_={node['_target_']} is no engine; `outlived`, `start`, `state` and `stop`"
            " make one"
        )
    if settings["detach"] and not engine.outlived:
        raise ValueError(
            f"sweep.detach=true: the jobs of {type(engine).__name__} end with the sweep; false would work"
        )
    return engine


def engine_of(sweep: Sweep, planned: Plan, say: Callable[[str], None]) -> tuple[Engine, int | None]:
    """Returns the engine of the jobs, and how many at a time it gets (None: all), or raises ValueError."""
    settings = planned.settings
    common = (sweep, lambda job: command_of(job, sweep, planned), say)
    parallel, memory = settings["parallel"], settings["memory_limit_gib"]
    if settings["engine"] == "slurm":
        from vitlab.sweeps.slurm import Slurm

        engine = Slurm(*common, settings["slurm"], None if planned.is_search else parallel, memory)
        return engine, (parallel or OF_A_SEARCH) if planned.is_search else None
    if isinstance(settings["engine"], dict):
        return own_engine(settings, common), parallel or (OF_A_SEARCH if planned.is_search else None)
    if places := [job.place for job in sweep.jobs if job.place is not None]:
        raise ValueError(
            f"{sweep.folder}: {len(places)} jobs were submitted, such as {places[0]}; the engine that did it,"
            " such as sweep.engine=slurm, takes in how they ended"
        )
    return Local(*common, parallel or 1, memory), parallel or 1


def run_jobs(sweep: Sweep, planned: Plan, search: Search | None) -> int:
    """Runs what has not ended, and prints how all jobs stand."""

    def say(line: str) -> None:
        print(plain_lines(line), flush=True)

    engine, at_once = engine_of(sweep, planned, say)
    total = planned.settings["num_jobs"] if search is not None else len(sweep.jobs)
    say(f"sweep of {total} jobs in {sweep.folder}; what they print is in {sweep.folder / 'logs'}")
    say(f"the same sweep again, or on after an interruption: {sweep.facts['command']}")
    loop = Loop(sweep, engine, say, search, at_once)
    number = loop.run(planned.settings["detach"])
    say(as_text(*job_rows(sweep)))
    say(f"to compare: vitlab report {shlex.quote(str(sweep.folder))}")
    if loop.active and engine.outlived:
        arrays = dict.fromkeys(str(job.place).partition("_")[0] for job in loop.active.values())
        way = (
            f"; `scancel {' '.join(arrays)}` would end them" if planned.settings["engine"] == "slurm" else ""
        )
        say(f"{len(loop.active)} jobs go on by themselves{way}")
    if number is not None:
        say(f"stopped; to go on: {sweep.facts['command']}")
        if (line := queue_again_if_asked(number)) is not None:
            say(line)
        return 128 + number
    if loop.active or loop.pending:
        say(f"to take in what ends: {sweep.facts['command']}")
        return 0
    return 0 if all(job.status in ("completed", "pruned") for job in sweep.jobs) else 1
