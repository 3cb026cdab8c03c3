"""`vitlab train`: a light door; what is heavy is imported once a run really starts, so --help is quick."""

import sys
from collections.abc import Sequence
from typing import Any

from vitlab.commands.sweep import first_job, is_sweep, run_sweep
from vitlab.config.compose import EXIT_BAD_INPUT, complain, run_with_hydra
from vitlab.config.continuing import take_over
from vitlab.config.hydra_words import refuse_hydras_words
from vitlab.config.resume import AUTO, find_run, refuse_changes
from vitlab.slurm import obeyed_from_the_start


def main(arguments: Sequence[str]) -> None:
    try:
        arguments = take_over(arguments)
    except ValueError as error:
        complain(error, "train")
        sys.exit(EXIT_BAD_INPUT)
    if is_sweep(arguments):
        run_sweep(arguments)
    with obeyed_from_the_start():
        run_with_hydra(train, "train", arguments, prepare)


def prepare(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments of one run, as Hydra takes them."""
    refuse_hydras_words(arguments)
    return find_run(first_job(arguments))


def train(config: Any) -> None:
    """Runs one training from a composed config in Hydra's run folder, or goes on with the one it holds."""
    from vitlab.config.from_record import check_form
    from vitlab.config.resolve import Asked, resolve_training
    from vitlab.runs.record import Run, discard_unstarted, held
    from vitlab.training.go_on import begin, go_on

    asked = Asked.of_this_job(config)
    with held(asked.folder):
        try:
            if asked.resume is not None and (asked.folder / "run.json").exists():
                run = Run.open(asked.folder)
                check_form(run.record, asked.folder / "run.json")
                refuse_changes(run.record, asked.overrides, asked.resume)
                # where the command line itself writes, or sends, is the user's word
                says = asked.resume == AUTO or any(each.startswith("logger=") for each in asked.overrides)
                go_on(run, asked.places() if says else set())
                return
            if asked.resume not in (None, AUTO):
                raise ValueError(f"resume={asked.resume} belongs on the command line")
            begin(asked, *resolve_training(config, overrides=asked.overrides, choices=asked.choices))
        finally:
            discard_unstarted(asked.folder)
