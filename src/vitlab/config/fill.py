"""What a config leaves open (null) for data or pretrained weights to decide, filled in before the check."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vitlab.config.check import resolve
from vitlab.config.fill_images import as_options, is_null, left_open, tell_differences
from vitlab.construct import build
from vitlab.files.home import expanded
from vitlab.objectives.direction import mode_of
from vitlab.weights.facts import Pretrained
from vitlab.weights.options import LINEAR
from vitlab.weights.readers.of_vitlab import VIT
from vitlab.weights.sources import read_weights

log = logging.getLogger(__name__)

OPEN = "model.depth"
"""Null in model=pretrained and nowhere else."""

SHARED_WITH_PATCH_EMBED = {
    "patch_size": "${patch_size}",
    "in_channels": "${data.in_channels}",
    "embed_dim": "${model.embed_dim}",
}
"""Arguments of every patch embedding that stand elsewhere in the config."""

USUAL = {
    "data.eval_size": "${data.image_size}",
    "data.fit": "crop",
    "data.interpolation": "bicubic",
    "data.stored_size": "${data.eval_size}",
}
"""Values of what is null and no weights decide."""


def _is_open(config: DictConfig) -> bool:
    """Tells whether the architecture is left to the weights; to other models null means something else."""
    return is_null(config, OPEN) and config.model.get("_target_") == VIT


def _patch_embed(config: DictConfig, theirs: Any) -> dict[str, Any]:
    """Returns the weights' own patch embedding where the config has the linear one that stands by default."""
    if config.patch_embed is None or config.patch_embed._target_ != LINEAR or theirs["_target_"] == LINEAR:
        return {}
    return {"patch_embed": dict(theirs) | SHARED_WITH_PATCH_EMBED}


def _architecture(config: DictConfig, weights: Pretrained) -> dict[str, Any]:
    """Returns what model=pretrained leaves open; elsewhere null means something else (not `patch_size`)."""
    known = weights.architecture
    filled: dict[str, Any] = {}
    if _is_open(config):
        if not known:
            kind = "of another kind of model"
            if weights.trunk_only:
                kind = "a ResNet's, which fill the patch embedding of model=patch_resnet_tiny"
            raise ValueError(
                f"model=pretrained: the weights of {weights.source} are {kind}; choose a model that they fit"
            )
        keys = [str(key) for key in config.model if is_null(config, f"model.{key}")]
        if missing := [key for key in keys if key not in known and key != "init_values"]:
            raise ValueError(
                f"model=pretrained: {weights.source} does not tell {', '.join(missing)}; give"
                f" model.{missing[0]}=..."
            )
        filled |= {f"model.{key}": known.get(key) for key in keys}
        if weights.guessed & set(keys):
            log.warning("model.num_heads=%s is a guess: %s does not tell", known["num_heads"], weights.source)
        if weights.patch_embed is not None:
            filled |= _patch_embed(config, weights.patch_embed)
    if is_null(config, "patch_size"):
        if "patch_size" not in known:
            raise ValueError(
                f"patch_size has no value, and {weights.source} does not tell one; give patch_size=..."
            )
        filled["patch_size"] = known["patch_size"]
    return filled


def _shorten(config: DictConfig) -> None:
    """Makes a run of `trainer.fast_dev_run` batches; Lightning's would leave out checkpoints and pictures."""
    asked = OmegaConf.select(config, "trainer.fast_dev_run")
    if not asked:
        return
    if not isinstance(asked, int) or asked < 0:
        raise ValueError(f"trainer.fast_dev_run={asked}: true, or a number of batches such as 3 would work")
    batches = {f"limit_{part}_batches": int(asked) for part in ("train", "val", "test")}
    ones = dict.fromkeys(("max_epochs", "check_val_every_n_epoch", "log_every_n_steps"), 1)
    config.trainer.update(batches | ones | {"max_steps": -1, "fast_dev_run": False})
    if OmegaConf.select(config, "schedule.warmup_epochs") is not None:
        config.schedule.warmup_epochs = 0
    log.info(
        "trainer.fast_dev_run=%s: one epoch of %d batch(es), then a test of as many; what it scores says"
        " nothing",
        asked,
        int(asked),
    )


def fill_in(config: DictConfig, read: Callable[[str], Pretrained] = read_weights) -> Pretrained | None:
    """Fills in what is null for the weights or the data to decide, and makes the data's folder absolute;
    returns the weights of `model.weights`, if it names some. Raises ValueError where these do not tell."""
    _shorten(config)
    with open_dict(config):
        for key in ("callbacks", "logger"):  # [] leaves no node
            config.setdefault(key, {})
    monitor = OmegaConf.select(config, "objective.monitor")
    if isinstance(monitor, str) and is_null(config, "objective.mode"):
        config.objective.mode = mode_of(monitor)
    root = OmegaConf.select(config, "data.root", throw_on_missing=False)
    if isinstance(root, str):  # so that checkpoint and run find the images from anywhere
        config.data.root = str(expanded("data.root", root).absolute())
    table = OmegaConf.select(config, "data.file", throw_on_missing=False)
    if isinstance(table, str) and isinstance(root, str) and not (Path(config.data.root) / table).exists():
        config.data.file = str(expanded("data.file", table).absolute())
    source = OmegaConf.select(config, "model.weights")
    if source is None and _is_open(config):
        raise ValueError("model=pretrained takes its architecture from weights; give some: model.weights=...")
    if source is not None and not isinstance(source, str):
        raise ValueError(f"model.weights={source} is of the wrong kind; a word or null would work")
    weights = None if source is None else read(source)
    told = {} if weights is None else _architecture(config, weights) | left_open(config, weights)
    usual = {key: value for key, value in USUAL.items() if key not in told and is_null(config, key)}
    for key, value in (told | usual).items():
        OmegaConf.update(config, key, value, merge=False)
    if told:
        shown = {key: value for key, value in told.items() if not isinstance(value, dict)}
        log.info("as in %s: %s", source, as_options(shown))
    if weights is not None:
        tell_differences(config, weights, told)
    if OmegaConf.select(config, "data.num_classes", throw_on_missing=False) is None:
        config.data.num_classes = len(build(resolve(config)["data"]["source"]).class_names)
    if OmegaConf.select(config, "data.store", throw_on_missing=False) == "auto":
        config.data.store = build(resolve(config)["data"]["source"]).fitting_store()
    return weights
