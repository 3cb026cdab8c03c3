"""From a run's record, which may be a stranger's, to a config that may run again in another folder."""

import logging
import os
import re
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vitlab.config.check import check_config
from vitlab.construct import refuse_interpolations
from vitlab.foreign import sends

log = logging.getLogger(__name__)

BUILT = ("model", "patch_embed", "augment", "optimizer", "schedule", "objective", "datamodule", "trainer")
"""Nodes that every training's config has, each with a `_target_`."""

OUTPUTS = ("run_dir", "trainer", "callbacks", "logger")
"""Nodes whose paths are where a run writes to; all others say what it reads."""

IS_PATH = re.compile(r"(dir|dirpath|path|file|folder)$")


NOT_WRITTEN = re.compile(r"/wandb/[\w-]+/logs/debug-core\.log$")
"""A link of W&B's to the log of its own core: a run that goes on gets a folder of its own there."""


def texts_of(node: Any) -> Iterator[str]:
    """Yields every text in plain data."""
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from texts_of(value)
    elif isinstance(node, str):
        yield node


def _moved(node: Any, old: str, new: str, path: str, allowed: Container[str]) -> Any:
    """Returns a part of a config with every path into the old run folder led to the new one."""
    if isinstance(node, dict):
        return {key: _moved(value, old, new, f"{path}.{key}", allowed) for key, value in node.items()}
    if isinstance(node, list):
        return [_moved(value, old, new, path, allowed) for value in node]
    if not isinstance(node, str):
        return node
    if (node == old or node.startswith(old + "/")) and ".." not in node.split("/"):
        return new + node[len(old) :]
    if node in allowed:
        return node
    if IS_PATH.search(path) or node.startswith("/") or ".." in node.split("/"):
        raise ValueError(
            f"{path}={node} lies outside the run's own folder {old}, and to run on or again would write"
            " there; the same command with resume=auto may go on"
        )
    return node


def refuse_links(folder: Path) -> None:
    """Raises ValueError where a link in a folder that may be a stranger's leads out of it."""
    inside = Path(os.path.realpath(folder))
    places = [str(inside)] if inside.is_dir() else []
    while places:
        with os.scandir(places.pop()) as entries:
            for entry in entries:
                target = os.path.realpath(entry.path) if entry.is_symlink() else inside
                if not (Path(target).is_relative_to(inside) or NOT_WRITTEN.search(entry.path)):
                    raise ValueError(
                        f"{entry.path} leads out of its folder, to {target}, and to go on would write there;"
                        " put it here"
                    )
                if entry.is_dir(follow_symlinks=False):
                    places.append(entry.path)


def _is_folder(path: Any) -> bool:
    return isinstance(path, str) and Path(path).is_absolute() and Path(path) != Path("/")


def check_form(record: Mapping[str, Any], file: Path) -> None:
    """Raises ValueError where a record, which may be a stranger's, lacks what `vitlab train` writes."""
    config: dict[str, Any] = record["config"] if isinstance(record.get("config"), dict) else {}
    overrides, loggers = record.get("overrides", []), record.get("loggers", {})

    def node(key: str) -> Any:
        return config.get(key)

    is_sound = {f"config.{key}": isinstance(node(key), dict) and "_target_" in node(key) for key in BUILT}
    is_sound["config.patch_embed"] |= config.get("patch_embed", "") is None  # a model without one
    is_sound |= {f"config.{key}": isinstance(node(key), dict) for key in ("data", "callbacks", "logger")}
    is_sound |= {f"config.{key}": key in config for key in ("compile", "features")}
    is_sound |= {
        "config.seed": type(config.get("seed")) is int,
        "config.run_dir": _is_folder(config.get("run_dir")),
        "status": isinstance(record.get("status"), str),
        "hardware": isinstance(record.get("hardware"), dict),
        "overrides": isinstance(overrides, list) and all(isinstance(each, str) for each in overrides),
        "seconds": isinstance(record.get("seconds", 0.0), int | float),
        "resumes": isinstance(record.get("resumes", []), list),
        "loggers": isinstance(loggers, dict) and all(isinstance(each, dict) for each in loggers.values()),
    }
    if record.get("status") == "completed":
        is_sound |= {key: isinstance(record.get(key), dict) for key in ("hashes", "metrics")}
    for key, sound in is_sound.items():
        if not sound:
            raise ValueError(
                f"{file}: its {key} is not what `vitlab train` records today; only such a run can be run"
                " again"
            )


def refuse_sending(loggers: Mapping[str, Any], allowed: Container[str], way: str) -> None:
    """Raises ValueError where a record alone names a logger that sends; `way` is what would go on."""
    for name, node in loggers.items():
        if isinstance(node, Mapping) and sends(node) and node["_target_"] not in allowed:
            raise ValueError(
                f"logger.{name}._target_={node['_target_']} would send what the run logs to a server, and a"
                f" record alone is no reason to; {way} may go on"
            )


def told_to_nobody(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record without the loggers that would send what they are told, and says so."""
    config = record.get("config")
    loggers = config.get("logger") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(loggers, dict):
        return dict(record)
    kept = {name: node for name, node in loggers.items() if not (isinstance(node, dict) and sends(node))}
    if left_out := ", ".join(loggers.keys() - kept.keys()):
        log.warning("logger=%s: not told of a run that is only repeated", left_out)
    return {**record, "config": {**config, "logger": kept}}


def places_inside(config: Mapping[str, Any], old: str, new: str, allowed: Container[str]) -> dict[str, Any]:
    """Returns the nodes that write, led from folder `old` to `new`. Raises ValueError for other places."""
    return {key: _moved(config[key], old, new, key, allowed) for key in OUTPUTS}


def config_from_record(
    record: Mapping[str, Any],
    file: Path,
    new: Path,
    data_root: str | None = None,
    allowed: Container[str] = (),
) -> dict[str, Any]:
    """Returns the config of a record, which may be a stranger's, ready to run in the folder `new`; `allowed`
    are other paths that the command line named. Raises ValueError where it is not one that may run."""
    check_form(record, file)
    config: dict[str, Any] = dict(record["config"])
    old = str(Path(config["run_dir"]))
    refuse_interpolations(config)
    refuse_sending(config["logger"], allowed, "the same command with resume=auto, or with logger=...,")
    config |= places_inside(config, old, str(new), allowed)
    if data_root is not None:
        nodes = [config["data"], config["data"].get("source"), config["datamodule"].get("source")]
        holders = [node for node in nodes if isinstance(node, dict) and "root" in node]
        if not holders:
            raise ValueError(f"data.root={data_root}: this run's data has no folder")
        for node in holders:
            node["root"] = data_root
    try:
        return check_config(OmegaConf.create(config), OmegaConf.create(config))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file}: its config is not what `vitlab train` records ({type(error).__name__}: {error})"
        ) from None
