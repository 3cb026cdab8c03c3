"""What is wrong with a sweep's jobs, found before the first starts: each config is checked as a run's is."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from vitlab.config.compose import COMPLAINTS, not_composed, reason_of, reference_config
from vitlab.config.sweep_sample import Checked, jobs_that_tell, told_of_sample, values_that_tell
from vitlab.startup import no_extras, no_garbage

MOST_LINES = 10

CouldBegin = Callable[[dict[str, Any], str | None, bool], None]
"""Raises ValueError for a checked config whose run would not begin, or not have the metric that is sought;
the last word says whether it is to begin on this machine, whose hardware then counts."""

WRONG = (*COMPLAINTS, OSError)
"""What a user can mend."""

UNFIT = (TypeError, LookupError, AttributeError, RecursionError)
"""What Hydra trips over where a value is of a kind that it does not expect there."""


class WrongJobs(ValueError):
    """Jobs that could not begin, a line for each mistake."""

    def __init__(self, lines: Sequence[str]):
        super().__init__("\n".join(lines))
        self.lines = lines


class Checker:
    """Checks one job after another; `could_begin` raises ValueError for what a checked config cannot be a run
    of, or a run with the metric that is sought, `here` or on a machine with other hardware. `elsewhere` other
    files may be there too: what this machine cannot read is kept in `lacking`, not refused."""

    def __init__(
        self,
        search_path: Sequence[str],
        common: Sequence[str],
        varied: Sequence[str],
        could_begin: CouldBegin,
        here: bool = True,
        elsewhere: bool = False,
    ):
        loader = GlobalHydra.instance().config_loader()

        def chooses(key: str) -> bool:
            group, own = key.lstrip("+~").partition("@")[0], list(search_path)
            return "." not in group and bool(loader.get_group_options(group, config_name=None, overrides=own))

        self.search_path, self.common, self.could_begin = search_path, common, could_begin
        self.here, self.elsewhere = here, elsewhere
        self.lacking: list[str] = []
        self.sought: str | None = None
        """The metric that every job must have."""
        self.groups = {key for key in varied if chooses(key)}
        """Varied keys that choose an option, so that Hydra has to compose anew."""
        self.parser = OverridesParser.create(loader)
        self.composed: Callable[[tuple[str, ...]], DictConfig] = cache(self._composed)
        self.config: Callable[[tuple[tuple[str, str], ...]], DictConfig] = cache(self._config)
        self.references: dict[str, DictConfig] = {}

    def options(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the overrides of a job that choose an option."""
        return tuple(f"{key}={value}" for key, value in values.items() if key in self.groups)

    def _composed(self, options: tuple[str, ...]) -> DictConfig:
        """Returns the config with all that jobs have in common, and with Hydra's own node."""
        config = compose("train", [*self.search_path, *self.common, *options], return_hydra_config=True)
        config.hydra.runtime.output_dir = str(Path("outputs").absolute())  # stands for each job's folder
        return config

    def _config(self, job: tuple[tuple[str, str], ...]) -> DictConfig:
        config = deepcopy(self.composed(self.options(dict(job))))
        with open_dict(config):
            del config["hydra"]
        others = [f"{key}={value}" for key, value in job if key not in self.groups]
        ConfigLoaderImpl._apply_overrides_to_config(self.parser.parse_overrides(others), config)
        return config

    def complaint(self, values: Mapping[str, str], whole: bool) -> str | None:
        """Returns what is wrong with a job in a line, or None; `whole` asks for the check as a run's."""
        try:
            config = self.config(tuple(values.items()))
        except WRONG as error:
            return reason_of(error, "train")
        except UNFIT as error:
            return str(not_composed(error, [f"{key}={value}" for key, value in values.items()]))
        if not whole:
            return None
        HydraConfig.instance().set_config(self.composed(self.options(values)))
        try:
            self._check(config)
        except WRONG as error:
            complaint = reason_of(error, "train")
            if not (self.elsewhere and _is_elsewhere(error, config)):
                return complaint
            self.lacking.append(complaint)
        except Exception:  # of a class of the user's own, for one: the job's log will show where it came from
            return None
        return None

    def _check(self, config: DictConfig) -> None:
        """Raises ValueError as `vitlab train` would before its run begins."""
        from vitlab.config.resolve import resolve_training

        choices = str(HydraConfig.get().runtime.choices)
        if choices not in self.references:
            self.references[choices] = reference_config("train", self.search_path)
        plain, _ = resolve_training(config, self.references[choices], read_once)
        self.could_begin(plain, self.sought, self.here)


@lru_cache(maxsize=1)
def read_once(source: str) -> Any:
    """Reads weights that several jobs start from once."""
    from vitlab.weights.sources import read_weights

    return read_weights(source)


def _is_elsewhere(error: Exception, config: DictConfig) -> bool:
    """Tells whether an error comes from a file that is not here, or that this system does not give."""
    for key in ("data.root", "model.weights"):
        place = OmegaConf.select(config, key)
        if str(error).startswith(key) and isinstance(place, str):
            return ":" not in place and not Path(place).exists()
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


@contextmanager
def silently() -> Iterator[None]:
    """Leaves it to the jobs to say what they warn of, and Hydra as it was."""
    before, config = logging.root.manager.disable, HydraConfig.instance().cfg
    logging.disable(logging.WARNING)
    try:
        with no_garbage(), no_extras():
            yield
    finally:
        read_once.cache_clear()
        logging.disable(before)
        HydraConfig.instance().cfg = config


def _in_words(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def lines_of(
    complaints: Mapping[str, Sequence[Checked]], num_checked: int, num_jobs: int | None
) -> list[str]:
    """Returns a line for each complaint, with the first job that has it; `num_jobs` is None for a search."""
    lines = []
    for complaint, jobs in complaints.items():
        values = _in_words(jobs[0].values)
        others = f" and {len(jobs) - 1} more" if num_checked == num_jobs else " and others"
        first = f"job {jobs[0].number} of {num_jobs}{others * (len(jobs) > 1)} ({values})"
        where = f"with {values}" if num_jobs is None else first
        lines.append(complaint if len(jobs) == num_checked else f"{where}: {complaint}")
    if len(lines) > MOST_LINES:
        lines[MOST_LINES - 1 :] = [f"and {len(lines) - MOST_LINES + 1} more complaints like these"]
    return lines


def _of_grid(checker: Checker, jobs: Sequence[Checked], whole: bool) -> dict[str, list[Checked]]:
    """Returns the jobs that could not begin, by complaint."""
    complaints: dict[str, list[Checked]] = {}
    for job in jobs:
        if (complaint := checker.complaint(job.values, whole)) is not None:
            complaints.setdefault(complaint, []).append(job)
    return complaints


def _of_search(
    checker: Checker, varied: Mapping[str, Sequence[str]], whole: bool
) -> dict[str, list[Checked]]:
    """Returns values with which a job could not begin, by complaint: first those wrong for one reason beside
    the first and beside the last values of the others, then those for any reason beside what is left."""
    wrong: dict[tuple[str, str], str] = {}
    for one_reason in (True, False):
        left = {key: [each for each in of_key if (key, each) not in wrong] for key, of_key in varied.items()}
        first, last = ({key: (each or varied[key])[place] for key, each in left.items()} for place in (0, -1))
        found = {}
        for key, value in [(key, value) for key, each in left.items() for value in each]:
            beside = [checker.complaint(others | {key: value}, whole) for others in (first, last)]
            if all(beside) and (beside[0] == beside[1] or not one_reason):
                found[key, value] = str(beside[0])
        wrong |= found
    complaints: dict[str, list[Checked]] = {}
    for (key, value), complaint in wrong.items():
        complaints.setdefault(complaint, []).append(Checked(None, {key: value}))
    return complaints


def refuse_wrong_jobs(
    checker: Checker,
    varied: Mapping[str, Sequence[str]],
    grid: Sequence[Mapping[str, str]] | None,
    whole: bool,
) -> list[str]:
    """Returns what to say of what was not checked. Raises WrongJobs where a job of the `grid` could not
    begin, or where a search (None) could draw a value that no job can have. Without `whole` only what the
    composed configs show counts, and nothing of this machine or its data."""
    with silently():
        jobs = [] if grid is None else jobs_that_tell(varied, grid, checker.options)
        varied = {key: values_that_tell(each) for key, each in varied.items()}
        number = len(jobs) if grid is not None else sum(map(len, varied.values()))
        complaints = _of_search(checker, varied, whole) if grid is None else _of_grid(checker, jobs, whole)
        if complaints:
            raise WrongJobs(lines_of(complaints, number, None if grid is None else len(grid)))
    lacking = dict.fromkeys(checker.lacking)
    notes = [f"not here, so not every value was checked: {each}" for each in lacking]
    return notes if grid is None else [*notes, *told_of_sample(varied, grid, jobs)]
