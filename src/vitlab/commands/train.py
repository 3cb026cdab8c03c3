"""`vitlab train`: a light door; what is heavy is imported only once a run really starts, so --help and --cfg job are quick."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vitlab.commands.compose import reference_config, run_with_hydra


def main(arguments: Sequence[str]) -> None:
    run_with_hydra(train, "train", arguments)


def train(config: DictConfig) -> None:
    """Runs one training from a composed config, inside Hydra's run folder."""
    from vitlab.commands.check import check_config
    from vitlab.commands.fill import fill_in
    from vitlab.commands.fit import fit_and_test
    from vitlab.runs import discard_unstarted

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        if hydra.mode == RunMode.MULTIRUN and config.trainer.devices != 1:
            raise ValueError(
                f"trainer.devices={config.trainer.devices}: each process of a job would run the whole multirun again; "
                "with -m use trainer.devices=1, or start the jobs one by one"
            )
        weights = fill_in(config)
        fit_and_test(check_config(config, reference_config("train")), folder, weights)
    finally:
        discard_unstarted(folder)
