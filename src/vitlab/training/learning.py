"""From the nodes `optimizer` and `schedule` to calls; torch's and timm's classes get our groups."""

from collections.abc import Callable, Mapping
from typing import Any

from vitlab.construct import build, check_keys, refuse_interpolations, resolve_target
from vitlab.foreign import FOREIGN
from vitlab.optim.of_libraries import in_our_groups, told_the_steps


def _from_library(node: Mapping[str, Any], place: str) -> tuple[Any, dict[str, Any]] | None:
    """Returns another library's class with its arguments, or None where the target is ours or a user's."""
    name = node["_target_"]
    if name not in FOREIGN:
        return None
    refuse_interpolations(node)
    check_keys(node, place)
    if FOREIGN[name] != place:
        raise ValueError(f"{place}._target_={name} is none; it belongs under {FOREIGN[name]}")
    return resolve_target(name, place), {
        key: value for key, value in node.items() if key not in ("_target_", "_partial_", "_convert_")
    }


def optimizer_and_schedule(config: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Returns both: `optimizer` takes named parameters, `schedule` optimizer and numbers of steps."""
    optimizer, schedule = (_from_library(config[key], key) for key in ("optimizer", "schedule"))
    return {
        "optimizer": build(config["optimizer"]) if optimizer is None else in_our_groups(*optimizer),
        "schedule": build(config["schedule"]) if schedule is None else told_the_steps(*schedule),
    }
