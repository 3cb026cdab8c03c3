"""What was meant by a key, an option or a word on the command line that is none."""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitlab.config.conf_files import conf_dir, conf_groups, keys, options

TAKES_A_VALUE = {"--config-dir", "--cfg", "--package", "--config-path", "--config-name", "--info"}
TAKES_A_VALUE |= {"-cd", "-c", "-p", "-cp", "-cn", "-i"}
"""Hydra's options that are followed by a word of their own."""

TAKES_GROUPS = ("train", "check")
"""Commands that take every group and key of a training."""

ORDER = {"predict": ("checkpoint", "images"), **dict.fromkeys(TAKES_GROUPS, ("experiment",))}
"""What words without a key mean, in order; elsewhere the first one is the checkpoint."""


NO_NAME = re.compile(r"|null|true|false|[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
"""What no option is called."""


def known_keys(command: str) -> list[str]:
    """Returns the keys that a command's config may have, whatever options are chosen."""
    files = [conf_dir() / f"{command}.yaml"]
    groups = []
    if command in TAKES_GROUPS:
        groups = conf_groups()
        with_keys = [conf_dir() / group for group in groups if group not in ("experiment", "sweep")]
        files += [
            conf_dir() / "train.yaml",
            *(file for each in with_keys for file in sorted(each.glob("*.yaml"))),
        ]
    return list(dict.fromkeys([*(key.name for file in files for key in keys(file)), *groups]))


def meant_by(key: str, command: str) -> list[str]:
    """Returns the keys most like one that is none: `lr` may be optimizer.lr, `epochs` trainer.max_epochs."""
    known = known_keys(command)
    last = key.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    if same and "." not in key:
        return same[:3]
    like = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    by_last: dict[str, str] = {}
    for name in known:
        by_last.setdefault(name.rpartition(".")[2], name)
    close = difflib.get_close_matches(last, by_last, n=1, cutoff=0.7)
    return like or same[:3] or [by_last[name] for name in close]


def unknown_key(key: str, command: str) -> str:
    """Returns the line for a key that no config has."""
    group = key.partition(".")[0]
    files = sorted((conf_dir() / group).glob("*.yaml"))
    if having := [f"{group}={file.stem}" for file in files if key in {each.name for each in keys(file)}]:
        return f"unknown key {key} with this {group}; {' or '.join(having)} has it"
    hint, found = f"`vitlab {command} --help` lists the known ones", meant_by(key, command)
    if found == [key]:  # another option of the group has it
        hint = f"the chosen {group} has none, and +{key}=VALUE adds one that it takes"
    elif found:
        hint = f"did you mean {' or '.join(found)}?"
    return f"unknown key {key}; {hint}"


def unknown_option(group: str, option: str, there: Sequence[str]) -> str:
    """Returns the line for an option that a group does not have; `there` are those that it has."""
    own = f"a file {group}/{option}.yaml of your own, with --config-dir, would be another (docs/extending.md)"
    way = f"there are {', '.join(there)}; {own}"
    if close := difflib.get_close_matches(option, there, n=1):
        way = f"did you mean {close[0]}? `vitlab train --help {group}` lists all"
    return f"{group}={option}: there is no such option; {way}"


def _values(text: str) -> list[str]:
    """Returns what stands for options in a group's value: a word, or the words of a list or sweep."""
    lists = text.replace("[]", "")  # nothing chosen, which is a choice
    if text[:1] == "{" or lists.strip(",") != lists or ",," in lists or (not lists and text):
        return []
    return [word.strip("[] '\"") for word in lists.split(",")]


def refuse_no_options(arguments: Sequence[str]) -> None:
    """Raises ValueError where a group is given what is no option's name, such as logger=5."""
    for argument in arguments:
        group, given, text = argument.partition("=")
        if not given or group in ("", "hydra") or not (conf_dir() / group).is_dir() or set(text) & set("($"):
            continue
        if any(map(NO_NAME.fullmatch, _values(text))):
            lists = f"; or a list of them, {group}=[] for none" if group in ("callbacks", "logger") else ""
            raise ValueError(
                f"{argument}: {group} takes the name of an option: {', '.join(options(group))}{lists}"
            )


def values_first(arguments: Sequence[str]) -> list[str]:
    """Returns arguments with what stands behind an option, such as `--config-dir DIR`, before it: argparse
    takes values from one place alone."""
    options, values, follows_option = [], [], False
    for argument in arguments:
        (options if follows_option or argument.startswith("-") else values).append(argument)
        follows_option = argument in TAKES_A_VALUE
    return [*values, *options]


def plain_words(arguments: Sequence[str]) -> Iterator[str]:
    """Yields the arguments that are no KEY=VALUE, no option and no option's value."""
    follows_option = False
    for argument in arguments:
        if not follows_option and argument[:1] not in ("-", "~", "") and "=" not in argument:
            yield argument
        follows_option = argument in TAKES_A_VALUE


def refuse_plain_words(arguments: Sequence[str], command: str) -> None:
    """Raises ValueError where words stand without a key, as in `vitlab predict best.ckpt photos`."""
    words = list(plain_words(arguments))
    if not words:
        return
    order = ORDER.get(command, ("checkpoint",))
    if command in TAKES_GROUPS and not (conf_dir() / "experiment" / f"{words[0]}.yaml").is_file():
        order = ("data.root",) if Path(words[0]).is_dir() else ()
    pairs = " ".join(f"{key}={word}" for key, word in zip(order, words, strict=False))
    would = f"vitlab {command} {pairs}" if pairs else f"vitlab {command} --help"
    raise ValueError(f"{words[0]} stands without a key; a command takes KEY=VALUE: {would} would work")
