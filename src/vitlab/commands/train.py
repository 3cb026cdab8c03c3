"""`vitlab train`: a light door; what is heavy is imported only once a run really starts, so --help and --cfg job are quick."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vitlab.commands.compose import reference_config, run_with_hydra
from vitlab.commands.resume import AUTO, find_run, refuse_changes
from vitlab.commands.sweep import first_job, is_sweep, run_sweep

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    if is_sweep(arguments):
        run_sweep(arguments)
    run_with_hydra(train, "train", arguments, prepare=lambda given: find_run(first_job(given)))


def train(config: DictConfig) -> None:
    """Runs one training from a composed config, inside Hydra's run folder, or goes on with the one that the folder holds."""
    from vitlab.commands.check import check_config, check_nodes, from_environment, resolve
    from vitlab.commands.fill import fill_in
    from vitlab.commands.fit import fit_and_test, go_on
    from vitlab.commands.from_record import OUTPUTS, check_form, texts_of
    from vitlab.runs.record import Run, discard_unstarted, held

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # an override may refer to a key of the config
    with held(folder):
        try:
            if config.resume is not None and (folder / "run.json").exists():
                run = Run.open(folder)
                check_form(run.record, folder / "run.json")
                refuse_changes(run.record, overrides, config.resume)
                named = resolve(config) if config.resume == AUTO else {}  # the same command again: where it writes is the user's word
                go_on(run, set(texts_of([named.get(key) for key in OUTPUTS])))
                return
            if config.resume not in (None, AUTO):
                raise ValueError(f"resume={config.resume} belongs on the command line")
            if keys := from_environment(OmegaConf.to_container(config, resolve=False)):
                where = "run.json, config.yaml, the checkpoints and the dashboard"
                log.warning("%s: from the environment, and kept as it is now in %s; a secret does not belong there", ", ".join(keys), where)
            reference = reference_config("train")
            check_nodes(config, reference)
            weights = fill_in(config)
            checked = check_config(config, reference)
            choices = {group: choice for group, choice in hydra.runtime.choices.items() if not group.startswith("hydra/")}
            fit_and_test(checked, folder, weights, {"overrides": overrides, "choices": choices})
        finally:
            discard_unstarted(folder)
