"""From a composed config to plain data: every question about it is asked here, before data is touched."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vitlab.config.check import check_config, check_nodes, from_environment, resolve
from vitlab.config.compose import chosen_options, reference_config
from vitlab.config.fill import fill_in
from vitlab.config.from_record import OUTPUTS, texts_of
from vitlab.config.unused import leave_out_unused
from vitlab.weights.facts import Pretrained
from vitlab.weights.sources import read_weights

log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """What a command line asks of a training: overrides, the options chosen of each group, the run's folder.
    `reference` is the config of these options alone, where no Hydra program runs that would know it."""

    config: DictConfig
    folder: Path
    overrides: list[str]
    choices: dict[str, str]
    reference: DictConfig | None = None

    @classmethod
    def of_this_job(cls, config: DictConfig) -> "Asked":
        """Returns what Hydra knows of the job that is running."""
        hydra = HydraConfig.get()
        # unresolved: an override may refer to a key of the config
        overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        return cls(config, Path(hydra.runtime.output_dir), overrides, chosen_options())

    @property
    def resume(self) -> str | None:
        return self.config.resume

    def places(self) -> set[str]:
        """Returns where the command line itself says that the run may write."""
        named = resolve(self.config)
        return set(texts_of([named.get(key) for key in OUTPUTS]))


def _warn_of_secrets(config: DictConfig) -> None:
    if keys := from_environment(OmegaConf.to_container(config, resolve=False)):
        where = "run.json, config.yaml, the checkpoints and the dashboard"
        log.warning(
            "%s: from the environment, and kept as it is now in %s; a secret does not belong there",
            ", ".join(keys),
            where,
        )


def resolve_training(
    config: DictConfig,
    reference: DictConfig | None = None,
    read: Callable[[str], Pretrained] = read_weights,
    overrides: Sequence[str] = (),
    choices: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[dict[str, Any], Pretrained | None]:
    """Returns the config as plain data, and the weights that it names. Raises ValueError for the first thing
    that is wrong.

    In this order: values from the environment are named; parts that the model does not refer to are left out,
    with a word where `overrides` or `choices` asked for one; a node is a node; what is null is filled in from
    the weights or the data; then every key, type and target is checked, and whether all of them go together.
    """
    _warn_of_secrets(config)
    reference = reference or reference_config("train")
    leave_out_unused(config, reference, overrides, choices)
    check_nodes(config, reference)
    weights = fill_in(config, read)
    return check_config(config, reference), weights
