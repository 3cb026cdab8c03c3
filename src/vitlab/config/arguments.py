"""The command line before Hydra reads it: what its grammar would misread, or not take at all."""

import re
from collections.abc import Sequence
from pathlib import Path

from vitlab.files.home import expanded

ONE_EACH = {"data.cache_dir", "resume", "continue", "hydra.run.dir", "hydra.sweep.dir"}
"""Keys of places of which several jobs have one together."""

READ = {"checkpoint", "against", "images", "unlike", "data.root"}
"""Keys of what is there before a job begins."""

PATHS = {*READ, *ONE_EACH, "model.weights"}
"""Keys whose values are files or folders."""

SIGNS = {"data.label_separator"}
"""Keys whose values are signs that Hydra's grammar may take for its own, such as `;`."""

SWEPT = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag)\(.*\)")
"""What stands for several values in Hydra's grammar."""


def check_given_once(arguments: Sequence[str]) -> None:
    """Raises ValueError where a key is given twice: Hydra would take the last one without a word."""
    given: dict[str, str] = {}
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+")
        # Lightning appends some of those
        if "=" in argument and key in given and not key.startswith("hydra."):
            raise ValueError(f"{key} is given twice: {given[key]} {argument}; give it once")
        given[key] = argument


def quoted(text: str) -> str:
    """Returns text as a value on Hydra's command line, whatever characters it holds."""
    from hydra.core.override_parser.types import Quote, QuotedString

    plain = re.fullmatch(r"[\w./-]+", text, re.ASCII)
    return text if plain else QuotedString(text, Quote.single).with_quotes()


def search_path(config_dir: str | Path | None) -> list[str]:
    """Returns the override by which Hydra also finds configs in a folder of the user's, if there is one."""
    place = f"file://{Path(config_dir).resolve()}" if config_dir else None
    return [f"hydra.searchpath=[{quoted(place)}]"] if place else []


def _quoted_path(key: str, value: str) -> str:
    return quoted(_best_of_run(key, str(expanded(key, value)) if value.startswith("~/") else value))


def _is_there(path: str) -> bool:
    try:
        return path != "" and Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # too long a name, or a home that nobody has
        return False


def _each_path(key: str, value: str) -> list[str]:
    """Returns the paths that a value with commas stands for under -m: itself, where there is such a path."""
    if key in ONE_EACH:
        return [value]
    parts = value.split(",")
    is_one, are_several = _is_there(value), all(map(_is_there, parts))
    if is_one and are_several:
        raise ValueError(
            f"{key}={value} is one path and also {len(parts)}; \"{key}='{value}'\" means the one,"
            f" {key}=choice(...) several"
        )
    if not (is_one or are_several) and key in READ:
        raise ValueError(
            f"{key}={value}: there is neither a path of that name, comma included, nor one of each name"
            " between the commas"
        )
    return [value] if is_one else parts


def _best_of_run(key: str, value: str) -> str:
    """Returns a run folder's best checkpoint (else the last) where a checkpoint is asked for."""
    folder = Path(value)
    if key not in ("checkpoint", "against", "model.weights") or not (folder / "run.json").is_file():
        return value
    kept = [folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    return next((str(file) for file in kept if file.is_file()), value)


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with those paths and signs quoted that Hydra's grammar would not take as they
    are, such as `photo(1).png` or `;`. Raises ValueError for an empty path, which would mean the present
    folder, and for what with -m could be one path or several."""
    several = not {"-m", "--multirun"}.isdisjoint(arguments)
    result = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in SIGNS and value and value[0] not in "'\"" and value != "null":
            argument = f"{key}={quoted(value)}"
        if key in PATHS and "=" in argument:
            if not value:
                raise ValueError(f"{key} has no value; give one: {key}=...")
            if key == "checkpoint" and value[0] == "[" and value[-1] == "]" and not set("'\"$") & set(value):
                value = f"[{','.join(_quoted_path(key, each.strip()) for each in value[1:-1].split(','))}]"
            is_hydras = value[0] in "'\"" or "${" in value or (value[0] == "[" and value[-1] == "]")
            if not is_hydras and not (several and SWEPT.fullmatch(value)):
                paths = _each_path(key, value) if several and "," in value else [value]
                value = ",".join(_quoted_path(key, each) for each in paths)
            argument = f"{key}={value}"
        result.append(argument)
    return result


def as_list(key: str, arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with `key=a,b` quoted for Hydra, which would take the comma for a sweep's."""
    if not {"-m", "--multirun"}.isdisjoint(arguments):
        return list(arguments)
    pairs = [(argument, *argument.partition("=")) for argument in arguments]
    return [
        f"{name}='{value}'" if name == key and re.fullmatch(r"\w*(,\w*)+", value) else argument
        for argument, name, _, value in pairs
    ]
