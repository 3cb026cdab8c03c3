"""The one check of what a sweep is told about itself, before any job is planned."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from vitlab.config.check import check_arguments
from vitlab.objectives.direction import mode_of

KEYS = (
    "name",
    "overrides",
    "space",
    "metric",
    "direction",
    "engine",
    "slurm",
    "detach",
    "parallel",
    "memory_limit_gib",
    "retry_failed",
    "print_commands",
)
KEYS += ("num_jobs", "seed", "sampler", "pruner")

MAX_MEMORY_GIB = 2**20
"""Above any machine's, and below where the system's count ends."""


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


ENGINES = ("local", "slurm")
"""Where jobs run: on this machine, or on a SLURM cluster's."""

NOT_TO_BE_GIVEN = (
    *("array", "chdir", "clusters", "error", "help", "output", "parsable", "test-only", "usage", "version"),
    *("wait", "wrap"),
)
"""Options of sbatch by which a sweep would not submit its jobs, or not find them again."""


def _check_engine(settings: Mapping[str, Any]) -> None:
    """Raises ValueError where what is said of the engine is none of it, or of another one."""
    engine, options = settings["engine"], settings["slurm"]
    if isinstance(engine, Mapping) and "_target_" in engine:
        own = OmegaConf.create({"sweep": {"engine": engine}})
        check_arguments(own, own, "sweep.engine", engine)
        engine = engine["_target_"]
        if settings["memory_limit_gib"] is not None:
            raise ValueError(
                f"sweep.memory_limit_gib={settings['memory_limit_gib']}: an engine of your own sets no limit"
                " of memory; null would work"
            )
    elif engine not in ENGINES:
        raise ValueError(
            f"sweep.engine={engine}: {' or '.join(ENGINES)} would work, or a _target_ (docs/extending.md)"
        )
    detach = settings["detach"]
    if not isinstance(detach, bool) or (detach and engine == "local"):
        raise ValueError(
            f"sweep.detach={str(detach).lower()}: false would work, or true with sweep.engine=slurm, whose"
            " jobs go on by themselves"
        )
    if not isinstance(options, Mapping):
        raise ValueError(f"sweep.slurm={options}: sbatch's options would work: sweep.slurm.partition=gpu")
    for key, value in options.items():
        if engine != "slurm":
            raise ValueError(
                f"sweep.slurm.{key}={value} is for sweep.engine=slurm; sweep.engine={engine} submits nothing"
            )
        if str(key).replace("_", "-") in NOT_TO_BE_GIVEN:
            raise ValueError(
                f"sweep.slurm.{key}={value}: a sweep could not submit its jobs, or find them again"
            )
        if not isinstance(value, str | int | float | None):
            raise ValueError(f"sweep.slurm.{key}={value}: a word, a number, true or null would work")
        if key == "time" and not isinstance(value, str | None):
            raise ValueError(
                f"sweep.slurm.time={value}: a time with colons such as 8:00:00 would work, in a file in"
                " quotes (YAML would count it in sixties)"
            )


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises ValueError in one line for an unknown key of `sweep.*`, and for an impossible value."""
    for key in (*settings, *KEYS):
        if key not in KEYS:
            raise ValueError(f"unknown key sweep.{key}; known there: {', '.join(KEYS)}")
        if key not in settings:
            raise ValueError(
                f"sweep.{key} is missing; a sweep's file that begins with `defaults: [grid, _self_]` has all"
                " keys"
            )

    def part(key: str) -> bool:
        return isinstance(settings[key], Mapping) and "_target_" in settings[key]

    def whole(key: str, least: int) -> bool:
        return _is_number(settings[key], int) and settings[key] >= least

    name, metric, limit, overrides, space = (
        settings[key] for key in ("name", "metric", "memory_limit_gib", "overrides", "space")
    )
    is_search = settings["sampler"] is not None
    directions = ["maximize", "minimize"]
    if isinstance(metric, str) and metric.endswith("loss"):
        directions.remove("maximize")
    only_a_search = "null (only a search {}: sweep=random or sweep=tpe)"
    right = {
        "name": (not isinstance(name, bool) and str(name).strip("/. ") != "", "a folder's name"),
        "overrides": (
            isinstance(overrides, list) and all(isinstance(each, str) for each in overrides),
            "a list such as [experiment=digits_vit]",
        ),
        "space": (isinstance(space, Mapping), "keys with values such as choice(2, 4)"),
        "metric": (
            metric is None or (isinstance(metric, str) and not metric.startswith("test/")),
            "a name of validation's such as best/val/accuracy (a test is for the one that was chosen)",
        ),
        "direction": (
            settings["direction"] in (None, *directions),
            f"with sweep.metric={metric} {' or '.join(directions)}",
        ),
        "parallel": (settings["parallel"] is None or whole("parallel", 1), "a whole number from 1 on"),
        "memory_limit_gib": (
            limit is None or (_is_number(limit, int | float) and 0 < limit < MAX_MEMORY_GIB),
            f"a number above 0 and below {MAX_MEMORY_GIB}, or null,",
        ),
        "retry_failed": (isinstance(settings["retry_failed"], bool), "true or false"),
        "print_commands": (isinstance(settings["print_commands"], bool), "true or false"),
        "num_jobs": (
            whole("num_jobs", 1) if is_search else settings["num_jobs"] is None,
            "a whole number from 1 on" if is_search else only_a_search.format("is told how many"),
        ),
        "seed": (whole("seed", 0), "a whole number from 0 on"),
        "sampler": (not is_search or part("sampler"), "sweep=random or sweep=tpe"),
        "pruner": (
            settings["pruner"] is None or (is_search and part("pruner")),
            "null, or that of sweep=tpe," if is_search else only_a_search.format("stops jobs early"),
        ),
    }
    for key, (fits, advice) in right.items():
        if not fits:
            raise ValueError(f"sweep.{key}={settings[key]}: {advice} would work")
    _check_engine(settings)
    for key, value in space.items():
        if not isinstance(value, str):
            raise ValueError(
                f"sweep.space.{key}={value}: text such as choice(2, 4) or range(3), under the whole key,"
                " would work"
            )


def goal_of(settings: Mapping[str, Any], monitor: str, mode: str) -> dict[str, str]:
    """Returns metric and direction; null follows from the best checkpoint, such as val/accuracy by `max`."""
    metric = settings["metric"] or f"best/{monitor}"
    usual = mode if metric.removeprefix("best/") == monitor else mode_of(metric)
    return {"metric": metric, "direction": settings["direction"] or f"{usual}imize"}
