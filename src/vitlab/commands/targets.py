"""What a config may build: an allow-list, because `_target_` could otherwise name any callable there is."""

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

OWN = ("vitlab.models.", "vitlab.data.", "vitlab.optim.", "vitlab.callbacks.", "vitlab.classifier.", "vitlab.probe.", "vitlab.loggers.")

FOREIGN = frozenset(
    f"pytorch_lightning.{name}"
    for name in (
        "Trainer",
        "callbacks.ModelCheckpoint",
        "callbacks.EarlyStopping",
        "callbacks.LearningRateMonitor",
        "callbacks.DeviceStatsMonitor",
        "callbacks.Timer",
        "loggers.CSVLogger",
        "loggers.TensorBoardLogger",
    )
)

EXTRA = "VITLAB_TARGETS"
"""Environment variable with packages of the user's own, separated by commas: a config may name what they define."""


def find_targets(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the path and the content of every node that has a `_target_`, outer ones first."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from find_targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from find_targets(value, f"{path}[{index}]")


def resolve_target(name: Any, path: str) -> Callable[..., Any]:
    """Returns what the target names. Raises ValueError, without importing anything, where the allow-list does not hold it.

    An own target must be defined in the module that its name says, so that no path leads through a module to something it imports.
    """
    own_packages = tuple(package.strip() + "." for package in os.environ.get(EXTRA, "").split(",") if package.strip())
    if not isinstance(name, str) or not (name in FOREIGN or name.startswith(OWN + own_packages)):
        raise ValueError(
            f"{path}._target_={name} is not allowed; targets inside vitlab are, and packages named in the environment's {EXTRA}"
        )
    module_name, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError):
        raise ValueError(f"{path}._target_={name} does not exist; check the module and the name") from None
    if name not in FOREIGN and getattr(found, "__module__", None) != module_name:
        raise ValueError(f"{path}._target_={name} is not allowed: {module_name} only imports it; name the module that defines it")
    return found
