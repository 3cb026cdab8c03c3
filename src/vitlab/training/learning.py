"""From the nodes `optimizer` and `schedule` to what the training module calls; classes of torch, timm and a
user's own get our parameter groups and the run's number of steps."""

from collections.abc import Callable, Mapping
from typing import Any

from vitlab.construct import build, check_keys, refuse_interpolations, resolve_target
from vitlab.foreign import FOREIGN
from vitlab.optim.of_libraries import in_our_groups, told_the_steps


def _class_of(node: Mapping[str, Any], place: str) -> tuple[Any, dict[str, Any]] | None:
    """Returns the class that a node names with its arguments, or None where it names a function."""
    name = node["_target_"]
    refuse_interpolations(node)
    check_keys(node, place)
    if FOREIGN.get(name, place) != place:
        raise ValueError(f"{place}._target_={name} is none; it belongs under {FOREIGN[name]}")
    found = resolve_target(name, place)
    if not isinstance(found, type):
        return None
    return found, {
        key: value for key, value in node.items() if key not in ("_target_", "_partial_", "_convert_")
    }


def optimizer_and_schedule(config: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Returns both: `optimizer` takes named parameters, `schedule` the optimizer, `total_steps` and
    `steps_per_epoch`. A function that a config names is called with these, whether `_partial_` is said or
    not."""
    optimizer, schedule = (_class_of(config[key], key) for key in ("optimizer", "schedule"))
    late = {"_partial_": True}
    return {
        "optimizer": build({**config["optimizer"], **late})
        if optimizer is None
        else in_our_groups(*optimizer),
        "schedule": build({**config["schedule"], **late}) if schedule is None else told_the_steps(*schedule),
    }
