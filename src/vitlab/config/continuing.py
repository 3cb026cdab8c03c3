"""`continue=RUN`: what a new run takes over from the command of another, from whose last state it starts."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitlab.config.arguments import quoted
from vitlab.config.from_record import places_inside, refuse_sending
from vitlab.foreign import SENDING
from vitlab.runs.status import load_record

KEY = "continue"

NOT_INHERITED = ("resume", KEY)

OVERRIDE = re.compile(r"[+~]*(?!hydra)[A-Za-z_][\w./@]*(=|$)")
"""What a training's record may have among its overrides."""


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def inherited_from(folder: Path) -> list[str]:
    """Returns the overrides of the run in a folder. Raises ValueError where no training tells them."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"{KEY}={folder} holds no run; a folder with a run.json would work")
    record = load_record(folder)
    overrides = record.get("overrides")
    if overrides is None or "config" not in record:
        raise ValueError(f"{KEY}={folder} is no training; the folder of a `vitlab train` would work")
    for override in overrides:
        if not OVERRIDE.match(override):
            raise ValueError(f"{folder / 'run.json'}: its overrides have {override}, which no training has")
    return [override for override in overrides if _key(override) not in NOT_INHERITED]


def take_over(arguments: Sequence[str]) -> list[str]:
    """Returns arguments with the overrides of the run that `continue=RUN` names, but for what they give anew.

    A group that is chosen anew, such as `optimizer=sgd`, leaves out what the other run said of its own
    choice: `optimizer.lr`. What is taken over follows `++continue=RUN`, which a job of a sweep is given, so
    that nothing is taken over twice. Raises ValueError where `continue` names no run.
    """
    asked = next((each for each in arguments if each.startswith(f"{KEY}=") and each != f"{KEY}=null"), None)
    if asked is None:
        return list(arguments)
    own = [each for each in arguments if each != asked]
    given = {_key(each) for each in own if not each.startswith("-")}
    named = asked.partition("=")[2].strip("'\"")
    folder = Path(named).expanduser().absolute()
    if not named:
        raise ValueError(f"{KEY} has no value; give one: {KEY}=RUN")
    if "," in named and not folder.is_dir():
        raise ValueError(f"{asked}: a sweep's jobs all continue one run; a sweep for each would work")
    if any(_key(each) == "model.weights" and not each.endswith("=null") for each in own):
        raise ValueError(
            f"{KEY}={folder} starts from that run's last weights, and model.weights from others; give one of"
            " them"
        )

    def is_anew(key: str) -> bool:
        return any(key == each or key.startswith(f"{each}.") for each in given)

    kept = [each for each in inherited_from(folder) if not is_anew(_key(each))]
    return [*own, f"++{KEY}={quoted(str(folder))}", *kept]


def refuse_strange_places(config: Mapping[str, Any], folder: Path, overrides: Sequence[str]) -> None:
    """Raises ValueError where a config would write outside the run's folder, or send, by a record's word."""
    keys = [_key(each) for each in overrides]
    own = overrides[: keys.index(KEY)]
    allowed = {each.partition("=")[2].strip("'\"") for each in own}
    allowed |= set(SENDING) if "logger" in keys[: len(own)] else set()
    refuse_sending(config["logger"], allowed, f"the same command with logger=[{','.join(config['logger'])}]")
    places_inside(config, str(folder), str(folder), allowed)
