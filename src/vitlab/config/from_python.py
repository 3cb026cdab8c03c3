"""A training's config composed from Python, outside any Hydra program."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from vitlab.config.arguments import check_given_once, search_path
from vitlab.config.compose import COMPLAINTS, chosen_options, reason_of, reference_config
from vitlab.config.conf_files import conf_dir
from vitlab.config.hydra_node import guarded
from vitlab.config.resolve import Asked
from vitlab.construct import allow_from_environment


@contextmanager
def composed_training(
    overrides: Sequence[str], folder: Path, config_dir: str | Path | None = None
) -> Iterator[Asked]:
    """Yields what overrides such as `"model=vit_tiny"` ask of a training in `folder`; `config_dir` holds YAML
    files of one's own. Raises ValueError in one line for what cannot be composed."""
    allow_from_environment()
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ValueError(f"config_dir={config_dir} is no folder; one with your own configs would work")
    own = search_path(config_dir)
    before = HydraConfig.instance().cfg
    try:
        check_given_once(overrides)
        with guarded(str(conf_dir()), overrides), initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose("train", [*own, *overrides], return_hydra_config=True)
            config.hydra.runtime.output_dir = str(folder)
            HydraConfig.instance().set_config(config)
            with open_dict(config):
                del config["hydra"]
            yield Asked(config, folder, list(overrides), chosen_options(), reference_config("train", own))
    except COMPLAINTS as error:
        raise ValueError(reason_of(error, "train")) from None
    finally:
        HydraConfig.instance().cfg = before


def plain_config(
    overrides: Sequence[str], folder: Path, config_dir: str | Path | None = None
) -> tuple[dict[str, Any], Any, Asked]:
    """Returns a checked config as plain data, the pretrained weights that it names, and what was asked."""
    from vitlab.config.resolve import resolve_training

    with composed_training(overrides, folder, config_dir) as asked:
        config, weights = resolve_training(
            asked.config, asked.reference, overrides=asked.overrides, choices=asked.choices
        )
    return config, weights, asked
