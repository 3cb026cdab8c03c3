"""What a config may build, and the building: an allow-list, as `_target_` could name any callable."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitlab.foreign import EXTRAS, FOREIGN, GUARDED, why_refused

if TYPE_CHECKING:
    from torch import nn

ROOMS = ("models", "data", "optim", "callbacks", "objectives", "loggers", "training.checkpoints")
OWN = tuple(f"vitlab.{room}." for room in ROOMS)

FUNCTIONS = {f"vitlab.optim.{name}" for name in ("adamw", "sgd", "muon", "warmup_schedule")}
FUNCTIONS |= {f"vitlab.models.by_name.{name}" for name in ("timm_model", "torchvision_model")}
"""The functions of ours that a config may call; all else of ours must be a class of one of `_kinds`."""

PERMITTED_KEYS = frozenset({"_target_", "_partial_", "_convert_"})
"""Of Hydra's own keys; `_args_`, for one, would be no argument that a check could read."""

EXTRA = "VITLAB_TARGETS"
"""Environment variable with packages of the user's own, separated by commas, which a config may name."""

NOT_TO_ALLOW = {"os", "sys", "subprocess", "builtins", "hydra", "pytorch_lightning", "vitlab"}
NOT_TO_ALLOW |= {"torch", "torchvision", "timm", "numpy"}
"""Packages with functions that open files or run code: no line of ours advises to allow them whole."""

_own_packages: tuple[str, ...] = ()


def allow_from_environment() -> None:
    """Reads which packages of the user's are allowed: once, before a config could change the environment."""
    global _own_packages
    named = [package.strip() for package in os.environ.get(EXTRA, "").split(",")]
    _own_packages = tuple(f"{package}." for package in named if package)


allow_from_environment()


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


def refuse_interpolations(node: Any) -> None:
    """Raises ValueError where a value is still to be resolved: it could become an unchecked target."""
    for value in node.values() if isinstance(node, Mapping) else node:
        if isinstance(value, str) and "${" in value:
            raise ValueError(
                f"{value} is not resolved: what is built from must be plain; the config in a run folder is"
            )
        if isinstance(value, Mapping | list):
            refuse_interpolations(value)


def _kinds() -> tuple[type, ...]:
    """Returns what a config is there to put together; building one of these runs nothing else."""
    from pytorch_lightning import Callback, LightningDataModule
    from pytorch_lightning.loggers import Logger
    from torch import nn

    from vitlab.data.augment.policy import Augment
    from vitlab.data.source import Source

    return (nn.Module, LightningDataModule, Callback, Logger, Source, Augment)


def check_keys(node: Mapping[str, Any], path: str) -> None:
    """Raises ValueError for a key that Hydra would take for itself and no check would see."""
    for key in node:
        if isinstance(key, str) and key.startswith("_") and key.endswith("_") and key not in PERMITTED_KEYS:
            raise ValueError(f"{path}.{key} is not allowed beside _target_; arguments by name would work")


def _why_not(name: Any, place: str) -> str | None:
    """Returns why the allow-list does not hold a name for this part of a config, or None where it does."""
    if not isinstance(name, str):
        return "is no name"
    if name in FOREIGN:
        belongs = FOREIGN[name]
        is_elsewhere = belongs in GUARDED and belongs != place
        return f"is not allowed here; it belongs under {belongs}" if is_elsewhere else None
    if name.startswith(OWN + _own_packages):
        return None
    if why := why_refused(name):
        return f"is not allowed: it {why}"
    package = name.partition(".")[0]
    way = f"{EXTRA}={package} would allow it, if you trust that package"
    if package in NOT_TO_ALLOW:
        way = "write what calls it yourself"
    return (
        "is not allowed; targets inside vitlab are, those that docs/extending.md lists, and packages named"
        f" in {EXTRA}: {way}"
    )


def _imported(name: str, path: str) -> Any:
    """Returns what an allowed name stands for. Raises ValueError for none, or where its module breaks."""
    module_name, _, attribute = name.rpartition(".")
    package = name.partition(".")[0]
    absent = ValueError(f"{path}._target_={name} does not exist; check the module and the name")
    try:
        return getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if package in EXTRAS and str(error.name).partition(".")[0] == package:
            raise ValueError(f"{path}._target_={name} needs {package}: {EXTRAS[package]}") from None
        if not name.startswith(_own_packages):
            raise absent from None
        here = f"{package} is neither installed nor on PYTHONPATH" if error.name == package else str(error)
        raise ValueError(f"{path}._target_={name} cannot be imported: {here}") from None
    except (ImportError, AttributeError):
        raise absent from None
    except Exception as error:
        if not name.startswith(_own_packages):
            raise
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}._target_={name} cannot be imported: {why}") from error


def resolve_target(name: Any, path: str, place: str = "") -> Callable[..., Any]:
    """Returns what the target names. Raises ValueError, without importing anything, where the allow-list does
    not hold it.

    `place` is the part of the config that the node stands in: callbacks, loggers and the trainer of another
    library are nowhere else.

    An own target must be defined in the module that its name says, so that no path leads through a module to
    something it imports, and must be one of the things that a config puts together: no helper function of
    ours is for a stranger's config to call.
    """
    if why := _why_not(name, place):
        raise ValueError(f"{path}._target_={name} {why}")
    found = _imported(name, path)
    module_name = name.rpartition(".")[0]
    defined_in = str(getattr(found, "__module__", None))
    # torch.optim.AdamW is of torch.optim.adamw
    is_theirs = name.startswith(_own_packages) and f"{defined_in}.".startswith(_own_packages)
    if name not in FOREIGN and defined_in != module_name and not is_theirs:
        raise ValueError(
            f"{path}._target_={name} is not allowed: {module_name} only imports it; name the module that"
            " defines it"
        )
    is_ours = name.startswith("vitlab.") and name not in FUNCTIONS
    if is_ours and not (isinstance(found, type) and issubclass(found, _kinds())):
        raise ValueError(f"{path}._target_={name} is not allowed: it is nothing that a config puts together")
    return found


def _made(node: Any, place: str) -> Any:
    """Returns plain data with everything that has a `_target_` built, inner parts first."""
    if isinstance(node, list):
        return [_made(value, place) for value in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: _made(value, place) for key, value in node.items() if key not in PERMITTED_KEYS}
    if "_target_" not in node:
        return made
    target = resolve_target(node["_target_"], "config", place)
    return partial(target, **made) if node.get("_partial_") else target(**made)


def build(node: Mapping[str, Any], place: str = "", /, **arguments: Any) -> Any:
    """Builds what a node describes, after holding all its targets against the allow-list; lists and dicts
    arrive as such.

    `place` is the part of the config that it stands in, where that is one of the trainer, the callbacks and
    the loggers. `arguments` that no config can hold are added to the outermost call as they are. Raises
    ValueError for what the allow-list does not hold, and for values that a class of another library does not
    understand.
    """
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    refuse_interpolations(node)
    for path, inner in find_targets(node):
        check_keys(inner, path or "config")
        resolve_target(inner["_target_"], path or "config", place)
    name = node["_target_"].rpartition(".")[2]
    try:
        return _made({**node, "_partial_": True}, place)(**arguments) if arguments else _made(node, place)
    except MisconfigurationException as error:
        raise ValueError(f"{name}: {error}") from None
    except (TypeError, LookupError, AttributeError) as error:
        if node["_target_"] not in FOREIGN:
            raise
        raise ValueError(f"{name}: {error}") from error  # of values that only their library understands


def build_model(config: Mapping[str, Any], is_new: bool = False) -> "nn.Module":
    """Builds the model with weights that depend on the seed alone; `model.weights` are loaded elsewhere. Only
    for a new run does it look for the weights of a model by its name: every other has its own."""
    import torch
    from torch import nn

    from vitlab.randomness import derive_seed

    torch.manual_seed(derive_seed(config["seed"], "initialisation"))
    node = {key: value for key, value in config["model"].items() if key != "weights"}
    if not is_new and node.get("_target_") in FUNCTIONS and "pretrained" in node:
        node["pretrained"] = False
    model = build(node)
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"model._target_={node['_target_']} gives a {type(model).__name__}; a torch.nn.Module would work"
        )
    return model
