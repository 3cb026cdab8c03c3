"""How images are prepared where the config leaves it open: as they were for the pretrained weights."""

import logging
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from vitlab.weights.facts import Pretrained
from vitlab.weights.options import as_option
from vitlab.weights.preprocessing import FIT_OF_CROP_MODE

log = logging.getLogger(__name__)

PREPARES = ("image_size", "stored_size", "interpolation", "fit", "mean", "std")
"""Keys of data that say how an image is prepared."""


def as_options(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={as_option(value)}" for key, value in values.items())


def is_null(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return (
        name in node
        and not OmegaConf.is_missing(node, name)
        and not OmegaConf.is_interpolation(node, name)
        and node[name] is None
    )


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


def left_open(config: DictConfig, weights: Pretrained) -> dict[str, Any]:
    """Returns what the config leaves open of how images are prepared, as far as the weights tell."""
    facts = weights.preprocessing
    told: dict[str, Any] = {}
    follows_size = is_null(config, "data.image_size")
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
    if "stored_size" in written and (is_null(config, "data.stored_size") or follows):
        shown = config.data.eval_size or told.get("data.image_size", config.data.image_size)
        told["data.stored_size"] = _stored_size(shown, facts.crop_pct)
    for key, values in (("mean", facts.mean), ("std", facts.std)):
        fitting = _for_channels(values, config.data.in_channels)
        if is_null(config, f"data.{key}") and fitting:
            told[f"data.{key}"] = fitting
    if is_null(config, "data.interpolation"):
        told["data.interpolation"] = facts.interpolation
    if is_null(config, "data.fit") and facts.crop_mode in FIT_OF_CROP_MODE:
        told["data.fit"] = FIT_OF_CROP_MODE[facts.crop_mode]
    return told


def tell_differences(config: DictConfig, weights: Pretrained, told: Mapping[str, Any]) -> None:
    """Logs where images are prepared otherwise than for the weights, or may be."""
    facts, data = weights.preprocessing, config.data
    ours = {key: data[key] for key in PREPARES if key in data}
    if facts is None:
        taken = {f"data.{key}": "measured" if value is None else value for key, value in ours.items()}
        log.warning(
            "%s does not tell how its images were prepared; here: %s", weights.source, as_options(taken)
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
