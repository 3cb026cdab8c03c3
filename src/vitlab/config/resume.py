"""Going on with a run: which one is meant, and that it is asked for nothing new."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vitlab.config.arguments import quoted
from vitlab.config.from_record import refuse_links

AUTO = "auto"


def find_run(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the run folder of `resume=...` as Hydra's own, so that its log goes on.
    Raises ValueError where that names no run, or resume=auto could not find it again."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    asked = given.get("resume", "null").strip("'\"")
    if asked == "null":
        return list(arguments)
    if asked == AUTO:
        if "hydra.run.dir" not in given and "hydra.sweep.dir" not in given:
            raise ValueError("resume=auto looks for the run in its own folder; say which: hydra.run.dir=DIR")
        if "hydra.run.dir" in given:
            refuse_links(Path(given["hydra.run.dir"].strip("'\"")))
        return list(arguments)
    if not (Path(asked) / "run.json").is_file():
        raise ValueError(f"resume={asked} holds no run; a folder with a run.json would work")
    refuse_links(Path(asked))
    # Lightning gives it to the other processes of several devices
    place = given.get("hydra.run.dir", asked).strip("'\"")
    if place != asked or "-m" in arguments or "--multirun" in arguments:
        raise ValueError(f"resume={asked} is a run's folder already; leave out hydra.run.dir and -m")
    return [*arguments, f"hydra.run.dir={quoted(asked)}", "hydra.output_subdir=null"]


def refuse_changes(record: Mapping[str, Any], overrides: Sequence[str], asked: str) -> None:
    """Raises ValueError where overrides would make a run another one; resume=auto must repeat them all."""
    begun = [override for override in record.get("overrides", []) if not override.startswith("resume=")]
    now = [override for override in overrides if not override.startswith("resume=")]
    if changed := [each for each in now if each not in begun and not _is_so(record["config"], each)]:
        raise ValueError(
            f"{changed[0]} is not what the run began with; a run goes on as it began, so leave it out, or"
            " start another run"
        )
    if asked == AUTO and (missing := [override for override in begun if override not in now]):
        raise ValueError(
            f"the run began with {' '.join(missing)}, which is missing now; the same command again would work"
        )


def _is_so(config: Any, override: str) -> bool:
    """Tells whether a config already has the value of an override such as `optimizer.lr=1e-3`."""
    key, _, value = override.lstrip("+").partition("=")
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return False
        config = config[part]
    try:
        is_number = isinstance(config, int | float) and not isinstance(config, bool)
        return (float(value) if is_number else yaml.safe_load(value)) == config
    except (ValueError, yaml.YAMLError):
        return False
