"""The command line before Hydra reads it: what its grammar would take for something else, or not take at all."""

import re
from collections.abc import Sequence
from pathlib import Path

PATHS = {"checkpoint", "images", "data.root", "data.cache_dir", "model.weights", "resume", "hydra.run.dir"}
"""Keys whose values are files or folders."""


def check_given_once(arguments: Sequence[str]) -> None:
    """Raises ValueError where a key is given twice: Hydra would take the last one without a word."""
    given: dict[str, str] = {}
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+")
        if "=" in argument and key in given and not key.startswith("hydra."):  # Lightning appends some of those
            raise ValueError(f"{key} is given twice: {given[key]} {argument}; give it once")
        given[key] = argument


def quoted(text: str) -> str:
    """Returns a text as Hydra's grammar takes any text: backslashes count as such but for those before a quote."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with those paths quoted that Hydra's grammar would not take as they are, such as `photo(1).png`.

    Raises ValueError for an empty path, which would mean the present folder. With -m, where a comma separates jobs, nothing is quoted.
    """
    if not {"-m", "--multirun"}.isdisjoint(arguments):
        return list(arguments)
    result = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in PATHS and "=" in argument:
            if not value:
                raise ValueError(f"{key} has no value; give one: {key}=...")
            if value.startswith("~/"):
                value = str(Path(value).expanduser())
            is_hydras = value[0] in "'\"" or "${" in value or (value[0] == "[" and value[-1] == "]")
            if not is_hydras and not re.fullmatch(r"[\w./:-]+", value, re.ASCII):
                value = quoted(value)
            argument = f"{key}={value}"
        result.append(argument)
    return result


def as_list(key: str, arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with `key=a,b` quoted for Hydra, which would take the comma for a sweep's, and refuse it without -m."""
    if not {"-m", "--multirun"}.isdisjoint(arguments):
        return list(arguments)
    pairs = [(argument, *argument.partition("=")) for argument in arguments]
    return [f"{name}='{value}'" if name == key and re.fullmatch(r"\w*(,\w*)+", value) else argument for argument, name, _, value in pairs]
