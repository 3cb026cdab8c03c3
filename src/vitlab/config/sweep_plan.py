"""From `vitlab train -m ...` to a plan: where the sweep lies, what its jobs share, and what varies."""

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from vitlab.config.arguments import check_given_once, quote_paths, quoted, search_path
from vitlab.config.combinations import never_validates
from vitlab.config.conf_files import conf_dir
from vitlab.config.hydra_node import guarded, refuse_options
from vitlab.config.hydra_words import ours, refuse_hydras_words
from vitlab.config.suggest import refuse_no_options, refuse_plain_words
from vitlab.config.sweep_check import Checker, CouldBegin, refuse_wrong_jobs
from vitlab.config.sweep_settings import check_settings, goal_of
from vitlab.config.varied import every_combination, space_of, values_of
from vitlab.objectives.direction import mode_of
from vitlab.sweeps.jobs import ENDED, Job, Sweep

if TYPE_CHECKING:
    from vitlab.sweeps.search import Choice, Interval

SWEEP_DIR = "hydra.sweep.dir"


def is_about_the_sweep(argument: str) -> bool:
    """Tells an argument of the sweep's own from one that its jobs get."""
    return argument.lstrip("+~").startswith(("sweep=", "sweep."))


class Plan(NamedTuple):
    """A sweep as it was asked for; `varied` holds Hydra's own parsed overrides by key, `example` the
    overrides of one job, `notes` what is to be said of what was not checked."""

    arguments: list[str]
    settings: dict[str, Any]
    config_dir: str | None
    folder: Path
    common: list[str]
    varied: dict[str, Override]
    example: list[str]
    grid: list[Job]
    space: "dict[str, Choice | Interval]"
    notes: Sequence[str] = ()

    @property
    def is_search(self) -> bool:
        return self.settings["sampler"] is not None

    def job(self, number: int, values: Mapping[str, str]) -> Job:
        if unknown := [key for key in values if key not in self.varied]:
            raise ValueError(
                f"{self.folder}: what it knows of job {number} varies {unknown[0]}, which this command"
                " does not"
            )
        overrides = [*self.common, *(f"{key}={value}" for key, value in values.items())]
        return Job(number, overrides, {key.lstrip("+"): value for key, value in values.items()})

    def facts(self) -> dict[str, Any]:
        """Returns what the sweep's file says beside its jobs."""
        named = self.settings["name"] is not None or any(
            argument.startswith(f"{SWEEP_DIR}=") for argument in self.arguments
        )
        place = [] if named else [f"{SWEEP_DIR}={quoted(str(self.folder))}"]
        space = {key: override.input_line for key, override in self.varied.items()}
        return {
            "metric": self.settings["metric"],
            "direction": self.settings["direction"],
            "command": shlex.join(["vitlab", "train", *self.arguments, *place]),
            "config_dir": self.config_dir,
            "overrides": self.common,
            "space": space if self.is_search else None,
        }


def plan(arguments: Sequence[str], could_begin: CouldBegin | None = None) -> Plan:
    """Returns the plan of a command line; every job is checked where `could_begin` says what of a checked
    config no run can be of, on this machine or (False) on whatever machine. Raises ValueError, or Hydra's own
    error, where it cannot be, and WrongJobs for what a check finds."""
    parser = argparse.ArgumentParser("vitlab train", add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-cd", "--config-dir")
    parser.add_argument("overrides", nargs="*")
    refuse_options(arguments)
    refuse_hydras_words(arguments)
    given = parser.parse_intermixed_args(arguments)
    check_given_once(given.overrides)
    refuse_plain_words(given.overrides, "train")
    refuse_no_options(given.overrides)
    if given.config_dir is not None and not Path(given.config_dir).is_dir():
        raise ValueError(
            f"--config-dir {given.config_dir} is no folder; one with your own configs would work"
        )
    own = [_own(each) for each in given.overrides if is_about_the_sweep(each)]
    theirs = [each for each in quote_paths(["-m", *given.overrides])[1:] if not is_about_the_sweep(each)]
    folders, conf = search_path(given.config_dir), str(conf_dir())
    with guarded(conf, given.overrides), initialize_config_dir(conf, version_base="1.3"):
        settings: Any = OmegaConf.to_container(compose("sweep", [*folders, *own]).sweep, resolve=True)
        if isinstance(settings.get("space"), Mapping):
            settings["space"] = dict(_leaves(settings["space"]))
        check_settings(settings)
        told = [*settings["overrides"], *(f"{key}={value}" for key, value in settings["space"].items())]
        fixed, varied = _split(told, theirs)
        place = _place(settings, fixed.pop(SWEEP_DIR, None))
        common = list(fixed.values())
        values = {key: list(values_of(override)) for key, override in varied.items()}
        if nothing := next((varied[key].input_line for key, each in values.items() if not each), None):
            raise ValueError(
                f"{nothing} stands for no value at all; `vitlab train --help` lists options and keys"
            )
        for key, each in values.items():
            if twice := next((value for place, value in enumerate(each) if value in each[:place]), None):
                raise ValueError(f"{varied[key].input_line} has {twice} twice; once would work")
        example = [*common, *(f"{key}={each[0]}" for key, each in values.items())]
        is_search = settings["sampler"] is not None
        grid = None if is_search else every_combination(varied)
        space = space_of(settings, varied) if is_search else {}
        checker = None
        if could_begin:
            elsewhere = settings["print_commands"]
            here = settings["engine"] == "local" and not elsewhere
            checker = Checker(folders, common, list(varied), could_begin, here, elsewhere)
            # all keys, before torch is imported
            refuse_wrong_jobs(checker, values, grid, whole=False)
        first = compose("train", [*folders, *example, *place], return_hydra_config=True)
        monitor = OmegaConf.select(first, "objective.monitor") or "val/loss"
        mode = OmegaConf.select(first, "objective.mode") or mode_of(monitor)
        is_named = is_search or settings["metric"] is not None
        settings |= goal_of(settings, monitor, mode)
        if is_search:
            _check_goal(settings["metric"], first)
        folder = Path(first.hydra.sweep.dir)
        planned = Plan(
            list(arguments), settings, given.config_dir, folder, common, varied, example, [], space
        )
        planned = planned._replace(grid=[planned.job(number, each) for number, each in enumerate(grid or [])])
        if checker and (is_search or _is_anything_left(planned)):
            checker.sought = settings["metric"] if is_named else None
            notes = refuse_wrong_jobs(checker, values, grid, whole=True)
            planned = planned._replace(notes=notes)
        return planned


def _own(argument: str) -> str:
    """Returns an argument of the sweep's own as Hydra takes it: a key that a sweep does not have is refused
    by name later, one of sweep.space may be new, and what it says is text."""
    key, sign, value = argument.partition("=")
    if key.startswith("sweep.space.") and value and value[0] not in "'\"{":
        value = quoted(value)
    return f"{'++' * key.startswith('sweep.')}{key}{sign}{value}"


def _leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields what a node says by dotted key."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _is_anything_left(planned: Plan) -> bool:
    """Tells whether a job of a grid would begin: the whole check takes seconds, which are saved where all
    have ended or are on a cluster, where they were submitted after one."""
    ended = ("completed",) if planned.settings["retry_failed"] else ENDED
    try:
        known = Sweep.load(planned.folder)
    except ValueError:  # a damaged file, which whoever goes on with the sweep refuses
        return False
    done = {
        tuple(job.overrides)
        for job in (known.jobs if known else ())
        if job.status in ended or job.place is not None
    }
    return any(tuple(job.overrides) not in done for job in planned.grid)


def _place(settings: Mapping[str, Any], sweep_dir: str | None) -> list[str]:
    """Returns the override that says where the sweep lies, if one does."""
    if settings["name"] is None:
        return [] if sweep_dir is None else [sweep_dir]
    if sweep_dir is not None:
        raise ValueError(f"sweep.name={settings['name']} and {sweep_dir} both say where; give one of them")
    return [f"{SWEEP_DIR}={quoted('outputs/${name}/' + str(settings['name']))}"]


def _split(told: Sequence[str], given: Sequence[str]) -> tuple[dict[str, str], dict[str, Override]]:
    """Returns the overrides that all jobs share, and those that vary, by key; a later one takes the place of
    an earlier one. `told` are those of the sweep's file, which may say nothing to Hydra itself; `given` those
    of the command line."""
    fixed: dict[str, str] = {}
    varied: dict[str, Override] = {}
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    for number, override in enumerate(parser.parse_overrides([*told, *given])):
        key = override.get_key_element()
        if (words := ours(str(override.input_line).lstrip("+~"))) is not None:
            raise ValueError(f"{override.input_line}: {words}")
        bare = key.lstrip("+~")
        if bare.startswith("hydra/") or bare in ("hydra.run.dir", "hydra.sweep.subdir", "resume"):
            raise ValueError(
                f"{override.input_line}: a sweep starts its jobs itself, or goes on with them;"
                f" {SWEEP_DIR}=DIR says where"
            )
        if number < len(told) and bare.startswith("hydra") and key != SWEEP_DIR:
            raise ValueError(f"{override.input_line} is not for a sweep's file to say, only for a command")
        fixed.pop(key, None)
        varied.pop(key, None)
        if override.is_sweep_override():
            varied[key] = override
        elif override.is_delete() and override.value_type is None:
            fixed[key] = key
        else:
            fixed[key] = f"{key}={override.get_value_element_as_str()}"
    return fixed, varied


def _check_goal(metric: str, config: DictConfig) -> None:
    """Raises ValueError where a search would look at a validation that a whole run does not have."""
    trainer = OmegaConf.select(config, "trainer")
    why = never_validates(trainer) if isinstance(trainer, DictConfig) else None
    if why and metric.removeprefix("best/").startswith("val/"):
        raise ValueError(f"sweep.metric={metric}: {why}, so no job would have it")
