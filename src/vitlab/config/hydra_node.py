"""Hydra's own node: it acts before anything is checked, so no file but vitlab's own may fill it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

from vitlab.config.hydra_words import ours

WHERE_RUNS_LIE = {"hydra.run.dir", "hydra.sweep.dir"}
"""All that a file may say there."""

HYDRAS_OWN = {"config", "default", "basic", "plain"}
"""Names of the options of `hydra/...` that stand there unless the command line chooses others."""

ANOTHER_START = re.compile(r"-c[np]\b.*|--config-[np].*|--e.*")
"""Options, also shortened, by which Hydra begins from another primary config, or from a pickled one."""


def refuse_options(arguments: Sequence[str]) -> None:
    """Raises ValueError for what would have Hydra begin otherwise than vitlab does."""
    for argument in arguments:
        if ANOTHER_START.fullmatch(argument):
            raise ValueError(
                f"{argument} is not for vitlab, whose own config comes first; --config-dir DIR and"
                " experiment=NAME would work"
            )
        if argument.lstrip("+~").partition("=")[0] == "hydra.mode":
            raise ValueError(f"{argument}: {ours('hydra.mode')}")


def _keys(node: Any, path: str) -> Iterator[str]:
    """Yields the dotted keys of what a node holds, of an empty or unresolved one its own."""
    if not isinstance(node, Mapping) or not node:
        yield path
        return
    for key, value in node.items():
        yield from _keys(value, f"{path}.{key}")


def _refuse_default(default: Any, result: Any, own: str, groups: set[str]) -> None:
    """Raises ValueError where a file of a composition fills Hydra's node and is not there for that."""
    file = default.config_path
    package = str(result.header["package"] if default.package is None else default.package)
    group, _, name = file.rpartition("/")
    is_ours = result.path == f"file://{own}" and ".." not in file.split("/")
    if is_ours or result.path.startswith(("structured://", "pkg://")):
        is_usual = package in ("hydra", group.replace("/", ".")) and (name in HYDRAS_OWN or group in groups)
        if (file.startswith("hydra/") or "hydra" in package) and not (default.primary or is_usual):
            would = ours(package) or "the command line may"
            raise ValueError(f"{file} would fill {package}, which is not for a file to choose; {would}")
        return
    embedded = ConfigLoaderImpl._embed_result_config(result, default.package).config
    node = OmegaConf.to_container(embedded, resolve=False)
    for key in _keys(node["hydra"], "hydra") if isinstance(node, dict) and "hydra" in node else []:
        if key not in WHERE_RUNS_LIE:
            would = ours(key) or f"{' and '.join(sorted(WHERE_RUNS_LIE))} would work"
            raise ValueError(
                f"{result.path.removeprefix('file://')}/{file.removesuffix('.yaml')}.yaml: {key} is not for a"
                f" file to say, because Hydra acts on it before anything is checked; {would}"
            )


@contextmanager
def guarded(own: str, arguments: Sequence[str]) -> Iterator[None]:
    """Has Hydra compose, while the block runs, from no file outside the folder `own` that fills its node, or
    raises ValueError. The mode follows from `arguments`, else Hydra would compose once more to find it."""
    compose = ConfigLoaderImpl._compose_config_from_defaults_list
    groups = {argument.lstrip("+~").partition("=")[0].partition("@")[0] for argument in arguments}

    def composed(self: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
        for default in defaults:
            _refuse_default(default, repo.load_config(default.config_path), own, groups)
        return compose(self, defaults, repo)

    with (
        patch.object(ConfigLoaderImpl, "_compose_config_from_defaults_list", composed),
        patch.object(Hydra, "get_mode", lambda *_, **__: None),
    ):
        yield
