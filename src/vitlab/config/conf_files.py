"""The files of conf/ as text, read without Hydra: where they lie, and what each option and key is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LINE = re.compile(r"(?P<indent> *)(?P<key>[\w]+): *(?P<value>[^#]*?)? *(?:# *(?P<comment>.*))?$")
NOT_A_USERS = (
    "use_distributed_sampler",
    "enable_model_summary",
    "auto_insert_metric_name",
    "enable_version_counter",
    "filename",
)
"""Keys that vitlab sets for a library; a user has no reason to."""


def conf_dir() -> Path:
    """Returns the folder of configs: inside an installed package, beside src/ in a checkout."""
    package = Path(__file__).parents[1]
    installed, checkout = package / "conf", package.parents[1] / "conf"
    return installed if installed.is_dir() else checkout


def conf_groups() -> list[str]:
    """Returns the groups of options, such as hardware; Hydra's own is none."""
    return sorted(
        folder.name for folder in conf_dir().iterdir() if folder.is_dir() and folder.name != "hydra"
    )


class Key(NamedTuple):
    """A key that a user may set, such as `trainer.max_epochs`, its default, and what is said of it."""

    name: str
    default: str
    comment: str


def options(group: str) -> list[str]:
    """Returns a group's options, such as cpu and gpu of `hardware`."""
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


def description(group: str, option: str) -> str:
    """Returns the first line of comment in an option's file."""
    lines = (conf_dir() / group / f"{option}.yaml").read_text().splitlines()
    said = [line.lstrip("# ") for line in lines if line.startswith("#") and not line.startswith("# @package")]
    return said[0] if said else ""


def defaults(config: str) -> dict[str, str]:
    """Returns what a config chooses of each group by default, such as {"model": "vit_micro"}."""
    text = (conf_dir() / f"{config}.yaml").read_text()
    block = re.search(r"^defaults:\n((?:  - .*\n)*)", text, re.MULTILINE)
    chosen = re.findall(r"^  - (\w+): (\[[^]]*\]|\w+)", block[1] if block else "", re.MULTILINE)
    return {group: option for group, option in chosen if option != "null"}


def keys(file: Path) -> Iterator[Key]:
    """Yields the keys of a config file that hold a value of their own, no other key's and none of Hydra's."""
    text = re.sub(r"\n {8,}#", "", file.read_text())  # a comment goes on in the line below it
    package = re.match(r"# @package (\w+)", text)
    group = file.parent.name if file.parent != conf_dir() else ""
    prefix = package[1] if package else group
    path = [prefix] if prefix and prefix != "_global_" else []
    open_keys: list[str] = []
    for line in text.splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        level = len(found["indent"]) // 2
        open_keys[level:] = [found["key"]]
        names, value = [*path, *open_keys], found["value"] or ""
        theirs = open_keys[0] in ("defaults", "hydra") or any(name.startswith("_") for name in open_keys)
        refers = value.startswith("${") and not value.startswith("${oc.env")
        is_given = found["key"] in NOT_A_USERS or "${run_dir}" in value
        if value and not (theirs or refers or is_given):
            yield Key(".".join(names), value, found["comment"] or "")
