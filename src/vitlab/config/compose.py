"""From a command line to a composed config: where conf/ lies, and how Hydra is started and complains."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vitlab.config.arguments import check_given_once, quote_paths, quoted
from vitlab.config.check import check_values
from vitlab.config.conf_files import conf_dir, options
from vitlab.config.hydra_node import guarded, refuse_options
from vitlab.config.hydra_words import ours
from vitlab.config.suggest import (
    refuse_no_options,
    refuse_plain_words,
    unknown_key,
    unknown_option,
    values_first,
)
from vitlab.construct import allow_from_environment
from vitlab.ranks import share_folder
from vitlab.startup import no_extras, no_garbage
from vitlab.trouble import one_line, told_in_a_line
from vitlab.words import plain

EXIT_BAD_INPUT = 2

COMPLAINTS = (HydraException, OmegaConfBaseException, ValueError, YAMLError)
"""What Hydra, its parts and we raise for input that is wrong."""


def compose_config(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Composes a config outside a run, from the package's own conf/ alone."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(config_name, list(overrides))


def chosen_options() -> dict[str, Any]:
    """Returns the option of each group that the job in HydraConfig chose, without Hydra's own groups."""
    choices = HydraConfig.get().runtime.choices
    return {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}


def reference_config(config_name: str, search_path: Sequence[str] = ()) -> DictConfig:
    """Composes the groups that the job in HydraConfig chose, without its experiment and its values."""
    # None: a group that nobody chose from
    chosen = {group: choice for group, choice in chosen_options().items() if choice is not None}
    chosen.pop("experiment", None)
    return compose(config_name, [*search_path, *(f"{group}={choice}" for group, choice in chosen.items())])


def run_with_hydra(
    task: Callable[[DictConfig], None],
    config_name: str,
    arguments: Sequence[str],
    prepare: Callable[[Sequence[str]], Sequence[str]] = tuple,
) -> None:
    """Composes `config_name` with the arguments, as `prepare` returns them, and runs the task once, or with
    -m once a job.

    What is wrong with the input (a ValueError, or Hydra's own complaint) ends the process with one line and
    status 2, an error with an `exit_status` with that; a job of a multirun raises it instead, so that Hydra
    goes on with the next job.
    """
    command_line, began = sys.argv, False
    wants_trace = os.environ.get("HYDRA_FULL_ERROR") == "1"

    def begin(config: DictConfig) -> None:
        nonlocal began
        began = True
        with no_garbage(), no_extras():
            import pytorch_lightning  # noqa: F401  every task needs it, and torch with it
        try:
            # Lightning starts the other processes of several devices by the command line
            with patch.object(sys, "argv", command_line), told_in_a_line():
                task(config)
        except Exception as error:
            status = EXIT_BAD_INPUT if isinstance(error, ValueError) else getattr(error, "exit_status", None)
            is_the_machines = isinstance(error, OSError | MemoryError)
            if status is None and is_the_machines and not isinstance(error, BrokenPipeError):
                status = 1
            if status is None or wants_trace or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            complain(error, config_name)
            sys.exit(status)

    # Hydra names the run after the file of the task
    begin.__module__ = task.__module__
    allow_from_environment()
    try:
        check_given_once(arguments)
        refuse_plain_words(arguments, config_name)
        refuse_no_options(arguments)
        refuse_options(arguments)
        arguments = values_first(share_folder(quote_paths(prepare(arguments)), config_name))
        # Hydra reads its arguments from sys.argv, and raises what it would have printed where this variable
        # says so
        with (
            patch.object(sys, "argv", [f"vitlab {config_name}", *arguments]),
            patch.dict(os.environ, HYDRA_FULL_ERROR="1"),
            guarded(str(conf_dir()), arguments),
        ):
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)(begin)()
    except (*COMPLAINTS, TypeError, LookupError, AttributeError, RecursionError, OSError) as error:
        is_input = isinstance(error, COMPLAINTS)
        if wants_trace or (began and not is_input):
            raise
        if isinstance(error, OSError) and not is_input:  # of the run's folder, which Hydra makes
            where, way = error.filename, "hydra.run.dir=DIR would put the run elsewhere"
            if not where:
                known = HydraConfig.initialized()
                where = HydraConfig.get().runtime.output_dir if known else "the run's folder"
            error = ValueError(f"{where}: {error.strerror}; {way}")
        elif not is_input:
            error = not_composed(error, arguments)
        complain(error, config_name)
        sys.exit(EXIT_BAD_INPUT)


def run_in_folder(
    work: Callable[[dict[str, Any], Path], None],
    config_name: str,
    kinds: Mapping[str, Any],
    arguments: Sequence[str],
) -> None:
    """Gives `work` the checked config as plain data and the run's folder, which is removed again where no run
    began in it. `kinds` are the types of the config's own values, by dotted key."""

    def task(config: DictConfig) -> None:
        from vitlab.runs.record import discard_unstarted

        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            work(check_values(config, reference_config(config_name), kinds), folder)
        finally:
            discard_unstarted(folder)

    task.__module__ = work.__module__
    run_with_hydra(task, config_name, arguments)


def not_composed(error: Exception, arguments: Sequence[str]) -> ValueError:
    """Returns what to say where Hydra tripped over a value of a kind that it does not expect there."""
    odd = [argument for argument in arguments if argument.partition("=")[2][:1] in ("[", "{")] or arguments
    way = "a group takes the name of an option, and a key a value"
    return ValueError(f"{' '.join(odd)} cannot be composed ({type(error).__name__}: {error}); {way}")


def reason_of(error: Exception, command: str) -> str:
    """Returns what is wrong as one line."""
    text = str(error)
    cause = error.__cause__
    if text.startswith("Could not override") or "is not in struct" in text:
        quoted_key, full_key = text.partition("'")[2].partition("'")[0], getattr(cause, "full_key", None)
        text = unknown_key(max(quoted_key, str(full_key or ""), key=len), command)
    elif isinstance(error, MissingConfigException) and (
        known := error.options or options(str(error.missing_cfg_file).partition("/")[0])
    ):
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        words = ours(f"{group}={option}")
        text = unknown_option(group, option, known) if words is None else f"{group}={option}: {words}"
    elif text.startswith("Error merging override"):
        override = text.removeprefix("Error merging override ").partition("\n")[0].rstrip(".")
        key, _, value = override.partition("=")
        text = f"{key}={value}: a plain value does not fit there; keys below it can be given: {key}.KEY=VALUE"
    elif "Config group override must be a string or a list" in text:
        said = text.partition(". ")[0] if "=" in text else text
        text = f"{said}; a group takes the name of an option: `vitlab {command} --help` lists them"
    elif isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        text = ("" if error.override in text else f"{error.override}: ") + text.partition("See https")[0]
        text = text.partition(" expecting {")[0]  # every sign of Hydra's grammar
        if key[:1] == "~" and "," in key:
            each = " ".join(f"~{name}" for name in key[1:].split(",") if name)
            text = f"{error.override}: each is left out by itself; {each} would work"
        elif key[:1] != "~" and ("mismatched input '='" in text or "LexerNoViableAlt" in text):
            way = f'"{key}={quoted(value)}" would work'
            text = f"{error.override}: a value with such signs needs quotes: {way}"
    elif isinstance(error, HydraException) and cause is not None:
        text = f"{text}: {cause}"
    # some are OSErrors
    return plain(" ".join(text.split())) if isinstance(error, HydraException) else one_line(error, text)


def complain(error: Exception, command: str) -> None:
    """Prints what is wrong in one line."""
    print(f"vitlab: {reason_of(error, command)}", file=sys.stderr)
