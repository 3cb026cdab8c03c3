"""The command of a run as one would type it, also elsewhere."""

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

ABSOLUTE = r"(?:~?/(?!/)|[A-Za-z]:[\\/])"

WHOLE = re.compile(rf"([^=]*=)?['\"]?{ABSOLUTE}.*")

WITHIN = re.compile(rf"(?<![^\s=:,\[({{'\"]){ABSOLUTE}[^\s,'\"\])}}]*")
"""A path in a list, or behind a scheme such as timm:"""


def without_places(word: str) -> str:
    """Returns a command's word with absolute paths as PATH: data.root=/home/me/photos as data.root=PATH."""
    whole = WHOLE.fullmatch(word)
    return f"{whole[1] or ''}PATH" if whole else WITHIN.sub("PATH", word)


def own_configs(record: Mapping[str, Any]) -> list[str]:
    """Returns `--config-dir DIR` as a run's recorded command has it; nothing where it has none."""
    with suppress(ValueError):  # a stranger's may end within quotes
        words = shlex.split(str(record.get("command", "")))
        for word, following in pairwise(words):
            if word in ("--config-dir", "-cd"):
                return ["--config-dir", following]
    return []


def train_words(record: Mapping[str, Any]) -> list[str]:
    """Returns the command that trains what a run's record tells, afresh and in a folder of its own."""
    overrides = record.get("overrides", [])
    return [
        "vitlab",
        "train",
        *own_configs(record),
        *(each for each in overrides if each.partition("=")[0].lstrip("+") not in ("resume", "run_dir")),
    ]


def wrapped(words: Sequence[str], width: int = 100) -> list[str]:
    """Returns a command in lines that a shell takes as one, broken between words beyond `width`."""
    lines = [shlex.quote(words[0])]
    for word in map(shlex.quote, words[1:]):
        if len(lines[-1]) + len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return lines
