"""One check of a whole config before data is touched: what it names exists, values are of the right kind."""

import difflib
import operator
import os
import re
from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vitlab.config.combinations import check_combinations
from vitlab.config.kinds import describe, fits, hints_of, parameters_of
from vitlab.construct import check_keys, find_targets, resolve_target

GIVEN_BY_CODE = {
    "datamodule": set[str](),
    "features": {"data", "model"},
    "objective": set[str](),
    "trainer": {"callbacks", "logger"},
    "sweep.engine": {"sweep", "command_of", "say"},
    "optimizer": {"named_parameters", "params"},  # params: as torch.optim has it
    "schedule": {"optimizer", "total_steps", "steps_per_epoch", "T_max"},
}
"""Arguments that no config can hold, by node."""

TAKEN_BY_CODE = {"model": {"weights": str | None}}
"""Keys of a node that are no arguments of what it builds, with their types."""

GROUPED = {"layer_decay": float, "frozen": list[str]}
"""The same of an optimizer that is a class: it gets its parameters in our groups."""

BASES = {
    "model": "torch.nn.Module",
    "objective": "vitlab.Objective",
    "data.source": "vitlab.Source",
    "augment": "vitlab.Augment",
    "optimizer": "torch.optim.Optimizer",
    "schedule": "torch.optim.lr_scheduler.LRScheduler",
    "callbacks": "pytorch_lightning.Callback",
    "logger": "pytorch_lightning.loggers.Logger",
}
"""What a class that stands at a node, or below `callbacks` and `logger`, derives from."""

KINDS: dict[str, Any] = {
    "name": str,
    "seed": int,
    "compile": bool,
    "checkpoint_every_steps": int | None,
    "peer_timeout_seconds": int,
}
"""Types of what a training's config says by itself, outside the nodes that build something."""

HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def _origin(config: DictConfig, path: str) -> str:
    """Returns the key that a user would change: where the value is only a reference, the key it refers to."""
    parent, _, key = path.rpartition(".")
    node = OmegaConf.select(config, parent)
    written: Any = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else {}
    raw = written.get(key)
    if isinstance(raw, str) and raw.startswith("${") and raw.endswith("}") and ":" not in raw:
        return _origin(config, raw[2:-1])
    return path


def _suggest(key: str, known: Any) -> str:
    names = [str(name) for name in known if name != "self" and name not in HYDRA_KEYS]
    close = difflib.get_close_matches(str(key), names, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(names[:20]) or 'none'}"


def _short(value: Any) -> str:
    return "null" if value is None else str(value)[:60]


def resolve(config: DictConfig) -> dict[str, Any]:
    """Returns plain data. Raises ValueError naming the key that is missing or cannot be interpolated."""
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        if "Missing mandatory value" in reason:
            key = _origin(config, str(error.full_key))
            raise ValueError(f"{key} has no value; give one: {key}=...") from None
        raise ValueError(f"{error.full_key} cannot be resolved: {reason}") from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def from_environment(node: Any, path: str = "") -> list[str]:
    """Returns the keys of an unresolved config whose values are taken from environment variables."""
    if isinstance(node, dict):
        return [
            key
            for name, value in node.items()
            for key in from_environment(value, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(node, list):
        return [key for value in node for key in from_environment(value, path)]
    names = re.findall(r"\$\{oc\.env:\s*([^,}\s]+)", node) if isinstance(node, str) else []
    # else it is the default that stands there
    return [path] if any(name in os.environ for name in names) else []


def _check_plain_keys(node: Any, reference: Any, path: str) -> None:
    if not isinstance(node, dict) or not isinstance(reference, dict) or "_target_" in node:
        return
    for key, value in node.items():
        here = f"{path}.{key}" if path else str(key)
        is_part = path in ("callbacks", "logger") and isinstance(value, dict)
        if key not in reference and not (is_part and "_target_" in value):
            if is_part:
                ways = f"add {key} there, or leave the values out with ~{here}"
                raise ValueError(f"{here} has values, but {path}=[...] does not choose it; {ways}")
            raise ValueError(f"unknown key {here}={_short(value)}; {_suggest(key, reference)}")
        _check_plain_keys(value, reference.get(key), here)


def check_nodes(config: DictConfig, reference: DictConfig) -> None:
    """Raises ValueError for a plain value in the place of a node; callbacks and loggers may be null."""
    plain, known = (OmegaConf.to_container(each, resolve=False) for each in (config, reference))

    def look(node: Any, other: Any, path: str) -> None:
        # a reference to the whole of another node
        if isinstance(other, str) and re.fullmatch(r"\$\{[\w.]+\}", other):
            found: Any = known
            for part in other[2:-1].split("."):
                found = found.get(part) if isinstance(found, dict) else None
            other = {} if isinstance(found, dict) else None
        if not isinstance(other, dict) or (isinstance(node, str) and "${" in node):
            return
        if not isinstance(node, dict):
            is_optional = path.startswith(("callbacks.", "logger."))
            if node is None and is_optional:
                return
            way = "; null would leave it out" if is_optional else ""
            raise ValueError(
                f"{path}={_short(node)} is no node; keys below it can be given: {path}.KEY=VALUE{way}"
            )
        for key, value in node.items():
            here = f"{path}.{key}" if path else str(key)
            look(value, other.get(key, {} if path in ("callbacks", "logger") else None), here)

    look(plain, known, "")


def _of_the_option(
    reference: DictConfig, path: str, node: Mapping[str, Any], unknown: list[str]
) -> str | None:
    """Returns what to do about unknown keys of the chosen option, where another target replaced its own."""
    option = OmegaConf.select(reference, path, throw_on_resolution_failure=False)
    if not isinstance(option, DictConfig) or option.get("_target_") == node["_target_"]:
        return None
    brought = [f"{path}.{key}" for key in unknown if key in option]
    if not brought:
        return None
    without = " ".join(f"~{key}" for key in brought)
    return (
        f"{path}._target_={node['_target_']} takes no {', '.join(brought)}, as {option['_target_']} does;"
        f" {without} would leave them out"
    )


def _check_base(path: str, name: str, target: Any) -> None:
    """Raises ValueError where a class of somebody else's is not what its place in the config asks for."""
    parent = path.rpartition(".")[0]
    base = BASES.get(parent if parent in ("callbacks", "logger") else path)
    if base is None or name.startswith("vitlab.") or not isinstance(target, type):
        return
    module, _, attribute = base.rpartition(".")
    if not issubclass(target, getattr(import_module(module), attribute)):
        raise ValueError(f"{path}._target_={name} is no {base}; a subclass of that would work")


def check_arguments(config: DictConfig, reference: DictConfig, path: str, node: Mapping[str, Any]) -> None:
    check_keys(node, path)
    target = resolve_target(node["_target_"], path, path.partition(".")[0])
    _check_base(path, node["_target_"], target)
    parameters = parameters_of(target)
    taken = TAKEN_BY_CODE.get(path, {}) | (
        GROUPED if path == "optimizer" and isinstance(target, type) else {}
    )
    hints = hints_of(target) | taken
    given = {str(key): value for key, value in node.items() if key not in HYDRA_KEYS}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if takes_any else [key for key in given if key not in parameters and key not in taken]
    if unknown:
        key = unknown[0]
        known = [name for name in (*parameters, *taken) if name not in GIVEN_BY_CODE.get(path, ())]
        hint = f"unknown key {path}.{key}={_short(given[key])}; {_suggest(key, known)}"
        raise ValueError(_of_the_option(reference, path, node, unknown) or hint)
    for key, value in given.items():
        if not fits(value, hints.get(key, Any)):
            raise ValueError(
                f"{_origin(config, f'{path}.{key}')}={_short(value)} is of the wrong kind;"
                f" {describe(hints[key])} would work"
            )
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if required and name not in given and name not in GIVEN_BY_CODE.get(path, set()):
            raise ValueError(f"{path}.{name} is missing; {node['_target_']} needs it")


def check_values(config: DictConfig, reference: DictConfig, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config as plain data with every interpolation resolved.

    `reference` is the same choice of groups without any value changed: in nodes that build nothing it knows
    the keys; `kinds` are types of values there, by dotted key. Raises ValueError with one line that names the
    key, the value and what would work.
    """
    check_nodes(config, reference)
    plain = resolve(config)
    _check_plain_keys(plain, OmegaConf.to_container(reference, resolve=False), "")
    for key in reference:
        if key not in plain:
            raise ValueError(f"{key} is missing; without ~{key} or {key}=[] it would be there")
    for key, hint in kinds.items():
        value = reduce(operator.getitem, key.split("."), plain)
        if not fits(value, hint):
            raise ValueError(f"{key}={_short(value)} is of the wrong kind; {describe(hint)} would work")
    for path, node in find_targets(plain):
        check_arguments(config, reference, _origin(config, path), node)
    return plain


def check_config(config: DictConfig, reference: DictConfig) -> dict[str, Any]:
    """Does the same for a training's config, and holds its values against each other."""
    plain = check_values(config, reference, KINDS)
    check_combinations(plain)
    return plain
