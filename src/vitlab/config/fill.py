"""What a config leaves open (null) for data or pretrained weights to decide, filled in before the check."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from vitlab.config.check import resolve
from vitlab.construct import build
from vitlab.files.home import expanded
from vitlab.objectives.direction import mode_of
from vitlab.weights.facts import Pretrained
from vitlab.weights.options import LINEAR, as_option
from vitlab.weights.preprocessing import FIT_OF_CROP_MODE
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

PREPARES = ("image_size", "stored_size", "interpolation", "fit", "mean", "std")
"""Keys of data that say how an image is prepared."""


def _as_options(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={as_option(value)}" for key, value in values.items())


def _is_null(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return (
        name in node
        and not OmegaConf.is_missing(node, name)
        and not OmegaConf.is_interpolation(node, name)
        and node[name] is None
    )


def _is_open(config: DictConfig) -> bool:
    """Tells whether the architecture is left to the weights; to other models null means something else."""
    return _is_null(config, OPEN) and config.model.get("_target_") == VIT


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
        keys = [str(key) for key in config.model if _is_null(config, f"model.{key}")]
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
    if _is_null(config, "patch_size"):
        if "patch_size" not in known:
            raise ValueError(
                f"patch_size has no value, and {weights.source} does not tell one; give patch_size=..."
            )
        filled["patch_size"] = known["patch_size"]
    return filled


def _stored_size(size: Any, crop_pct: float) -> Any:
    if isinstance(size, int):
        return int(size / crop_pct + 1e-6)
    # the check will say so
    return [_stored_size(side, crop_pct) for side in size] if isinstance(size, list | ListConfig) else size


def _for_channels(values: list[float], num_channels: int) -> list[float] | None:
    """Returns values for so many channels: grey gets the colours' mean, colours get grey's value."""
    if len(values) == num_channels:
        return values
    if num_channels == 1:
        return [sum(values) / len(values)]
    return values * num_channels if len(values) == 1 else None


def _preprocessing(config: DictConfig, weights: Pretrained) -> dict[str, Any]:
    """Returns what the config leaves open of how images are prepared, as far as the weights tell."""
    facts = weights.preprocessing
    told: dict[str, Any] = {}
    follows_size = _is_null(config, "data.image_size")
    if follows_size:
        size = facts.image_size if facts else weights.architecture.get("image_size")
        if size is None:
            raise ValueError(
                f"data.image_size has no value, and {weights.source} does not tell one; give"
                " data.image_size=..."
            )
        told["data.image_size"] = size
    if facts is None:
        return told
    written: Any = OmegaConf.to_container(config.data, resolve=False)
    follows = follows_size and written.get("stored_size") == "${data.eval_size}"
    if "stored_size" in written and (_is_null(config, "data.stored_size") or follows):
        shown = config.data.eval_size or told.get("data.image_size", config.data.image_size)
        told["data.stored_size"] = _stored_size(shown, facts.crop_pct)
    for key, values in (("mean", facts.mean), ("std", facts.std)):
        fitting = _for_channels(values, config.data.in_channels)
        if _is_null(config, f"data.{key}") and fitting:
            told[f"data.{key}"] = fitting
    if _is_null(config, "data.interpolation"):
        told["data.interpolation"] = facts.interpolation
    if _is_null(config, "data.fit") and facts.crop_mode in FIT_OF_CROP_MODE:
        told["data.fit"] = FIT_OF_CROP_MODE[facts.crop_mode]
    return told


def _tell_differences(config: DictConfig, weights: Pretrained, told: Mapping[str, Any]) -> None:
    """Logs where images are prepared otherwise than for the weights, or may be."""
    facts, data = weights.preprocessing, config.data
    ours = {key: data[key] for key in PREPARES if key in data}
    if facts is None:
        taken = {f"data.{key}": "measured" if value is None else value for key, value in ours.items()}
        log.warning(
            "%s does not tell how its images were prepared; here: %s", weights.source, _as_options(taken)
        )
        return
    theirs = {key: getattr(facts, key) for key in ("image_size", "interpolation")}
    theirs["fit"] = FIT_OF_CROP_MODE.get(facts.crop_mode)
    theirs |= {key: _for_channels(getattr(facts, key), data.in_channels) for key in ("mean", "std")}
    theirs["stored_size"] = _stored_size(data.eval_size, facts.crop_pct)
    for key, value in theirs.items():
        if key not in ours and value not in (None, ours["image_size"]) and (key != "fit" or value != "crop"):
            log.info("this data set has no data.%s; the weights had %s", key, value)
        elif key in ours and f"data.{key}" not in told and value not in (None, ours[key]):
            log.info(
                "data.%s=%s is the config's; the weights had %s, which data.%s=null would take",
                key,
                ours[key],
                value,
                key,
            )
    if told.get("data.fit") == "pad":
        log.info("the weights' pictures were padded with the mean colour; here the bars are mid grey")


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
    if isinstance(monitor, str) and _is_null(config, "objective.mode"):
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
    told = {} if weights is None else _architecture(config, weights) | _preprocessing(config, weights)
    usual = {key: value for key, value in USUAL.items() if key not in told and _is_null(config, key)}
    for key, value in (told | usual).items():
        OmegaConf.update(config, key, value, merge=False)
    if told:
        shown = {key: value for key, value in told.items() if not isinstance(value, dict)}
        log.info("as in %s: %s", source, _as_options(shown))
    if weights is not None:
        _tell_differences(config, weights, told)
    if OmegaConf.select(config, "data.num_classes", throw_on_missing=False) is None:
        config.data.num_classes = len(build(resolve(config)["data"]["source"]).class_names)
    if OmegaConf.select(config, "data.store", throw_on_missing=False) == "auto":
        config.data.store = build(resolve(config)["data"]["source"]).fitting_store()
    return weights
