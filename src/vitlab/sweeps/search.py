"""Searches by Optuna, which is asked for and told of one job at a time. Trials have the jobs' numbers and
outlive the process."""

import math
import random
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState

from vitlab.quirks import trial_number_in_storage
from vitlab.runs.history import FILE as HISTORY_FILE
from vitlab.runs.history import read_history
from vitlab.sweeps.jobs import Job, Sweep


class Choice(NamedTuple):
    """Values as on a command line, in no order."""

    options: tuple[str, ...]


class Interval(NamedTuple):
    """Numbers from low to high, both included: whole ones, or multiples of a step from low, where these are
    asked for."""

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None


def distribution(dimension: Choice | Interval) -> BaseDistribution:
    """Returns Optuna's name for a dimension of the space."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.options)
    low, high, log, whole, step = dimension
    if whole:
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def part_of_optuna(node: Mapping[str, Any], key: str, seed: int | None = None) -> Any:
    """Builds a sampler or pruner from its `_target_` in optuna.samplers or optuna.pruners.

    Raises ValueError for any other target, and for arguments that it does not take.
    """
    home = getattr(optuna, f"{key}s")
    kind = home.BaseSampler if key == "sampler" else home.BasePruner
    prefix, _, name = str(node.get("_target_")).rpartition(".")
    found = getattr(home, name, None)
    if prefix != f"optuna.{key}s" or not (
        isinstance(found, type) and issubclass(found, kind) and found is not kind
    ):
        known = [name for name in home.__all__ if name.endswith(key.title()) and not name.startswith("Base")]
        raise ValueError(
            f"sweep.{key}._target_={node.get('_target_')} is none of optuna.{key}s; known there:"
            f" {', '.join(known)}"
        )
    arguments = {name: value for name, value in node.items() if name != "_target_"} | (
        {} if seed is None else {"seed": seed}
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return found(**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sweep.{key}: {name} {error}") from None


class OptunaSearch:
    """Proposes jobs by a sampler and stops hopeless ones by a pruner, on the sweep's metric.

    Proposals follow from the seed, the number of the job and the results of earlier jobs. They do not depend
    on how often the sweep was stopped.
    """

    def __init__(
        self,
        sweep: Sweep,
        space: Mapping[str, Choice | Interval],
        as_job: Callable[[int, dict[str, str]], Job],
        num_jobs: int,
        seed: int,
        sampler: Mapping[str, Any],
        pruner: Mapping[str, Any] | None = None,
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep, self.as_job, self.num_jobs, self.seed, self.sampler = (
            sweep,
            as_job,
            num_jobs,
            seed,
            sampler,
        )
        self.space = {key: distribution(dimension) for key, dimension in space.items()}
        self.pruner = part_of_optuna(pruner, "pruner") if pruner else None
        sweep.folder.mkdir(parents=True, exist_ok=True)
        self.study = optuna.create_study(
            storage=f"sqlite:///{(sweep.folder / 'optuna.db').resolve()}",
            study_name="sweep",
            direction=sweep.facts["direction"],
            pruner=self.pruner or optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        self.reported: dict[int, tuple[int, int]] = {}  # by job: bytes read of its history, last step told
        for trial in self.study.get_trials(deepcopy=False):
            if trial.number >= len(sweep.jobs):  # killed between asking and writing it down
                sweep.jobs.append(self._job_of(trial))
            if not trial.state.is_finished() and sweep.jobs[trial.number].status in ("completed", "pruned"):
                self.tell(sweep.jobs[trial.number])

    def ask(self) -> Job | None:
        number = len(self.sweep.jobs)
        if number >= self.num_jobs:
            return None
        place = random.Random(repr((self.seed, number))).getrandbits(31)
        self.study.sampler = part_of_optuna(self.sampler, "sampler", place)
        trial = self.study.ask(self.space)
        assert trial.number == number, f"trial {trial.number} for job {number}"
        job = self._job_of(trial)
        self.sweep.jobs.append(job)
        return job

    def is_hopeless(self, job: Job) -> bool:
        folder = self.sweep.folder_of(job)
        history = folder / HISTORY_FILE
        if self.pruner is None or not history.exists():
            return False
        size, last = self.reported.get(job.number, (0, -1))
        if history.stat().st_size == size:
            return False
        size = history.stat().st_size
        trial = Trial(self.study, trial_number_in_storage(self.study.get_trials(deepcopy=False)[job.number]))
        metric = self.sweep.facts["metric"].removeprefix(
            "best/"
        )  # while a run is under way nobody knows its best
        for (step, name), value in read_history(folder).items():
            if name == metric and step > last:
                trial.report(value, step)
                last = step
        self.reported[job.number] = (size, last)
        return bool(trial.should_prune())  # some pruners say so as numpy does

    def tell(self, job: Job) -> None:
        value = job.metrics.get(self.sweep.facts["metric"])
        validated = any(
            "val/" in name for name in job.metrics
        )  # one that was not says nothing of the metric's name
        if job.status == "completed" and value is None and validated:
            raise ValueError(
                f"sweep.metric={self.sweep.facts['metric']} is no metric of job {job.number}; it has"
                f" {', '.join(job.metrics)}"
            )
        if job.status == "completed" and value is not None and math.isfinite(value):
            self.study.tell(job.number, value, skip_if_finished=True)
        elif (
            job.status != "failed"
        ):  # of that Optuna hears nothing: it takes back no end of a trial, and the job may be retried
            state = TrialState.PRUNED if job.status == "pruned" else TrialState.FAIL
            self.study.tell(job.number, state=state, skip_if_finished=True)

    def _job_of(self, trial: Trial | FrozenTrial) -> Job:
        return self.as_job(trial.number, {key: str(value) for key, value in trial.params.items()})
