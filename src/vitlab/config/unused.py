"""Parts of a config that the chosen model has no use for: they are neither built nor checked against it."""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)

PARTS = {"patch_embed": "linear"}
"""Groups that stand in every config for models to refer to, with their default options."""

ALSO_FOR_PARTS = "patch_size"
"""A value at the top of the config that such parts take."""


def _texts(node: Any, without: str) -> Iterable[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key != without:
                yield from _texts(value, "")
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, "")
    elif isinstance(node, str):
        yield node


def is_referred_to(config: DictConfig, part: str) -> bool:
    """Tells whether anything in a config, outside the part itself, takes the part or a value of it."""
    plain = OmegaConf.to_container(config, resolve=False)
    return any(re.search(rf"\$\{{\s*{part}\b", text) for text in _texts(plain, part))


def leave_out_unused(
    config: DictConfig, reference: DictConfig, overrides: Iterable[str], choices: Mapping[str, Any]
) -> None:
    """Puts null for parts that nothing refers to, in a config and its reference; says which were asked."""
    given = {override.lstrip("+~").partition("=")[0]: override for override in overrides}
    for part, usual in PARTS.items():
        if is_referred_to(config, part):
            continue
        for each in (config, reference):
            OmegaConf.update(each, part, None, merge=False, force_add=True)
        asked = [] if choices.get(part) in (usual, None) else [f"{part}={choices[part]}"]
        asked += [override for key, override in given.items() if key.startswith(f"{part}.")]
        if ALSO_FOR_PARTS in given and not is_referred_to(config, ALSO_FOR_PARTS):
            asked.append(given[ALSO_FOR_PARTS])
        for text in asked:
            log.warning("%s has no effect: model=%s refers to no %s", text, choices.get("model"), part)
