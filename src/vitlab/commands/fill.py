"""What a config leaves open (null) for the data or the pretrained weights to decide, filled in before the one check."""

import logging
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vitlab.commands.build import build
from vitlab.commands.check import resolve
from vitlab.weights.facts import Preprocessing, Pretrained
from vitlab.weights.options import LINEAR, as_option
from vitlab.weights.sources import read_weights

log = logging.getLogger(__name__)

OPEN = "model.depth"
"""Null in model=pretrained and nowhere else."""

SHARED_WITH_PATCH_EMBED = {"patch_size": "${patch_size}", "in_channels": "${data.in_channels}", "embed_dim": "${model.embed_dim}"}
"""Arguments of every patch embedding that stand elsewhere in the config."""


def fill_in(config: DictConfig) -> Pretrained | None:
    """Fills in what is null for the weights or the data to decide; returns the weights of `model.weights`, if it names some.

    Raises ValueError where they cannot be had, or do not tell what the config leaves to them.
    """
    source = OmegaConf.select(config, "model.weights")
    if source is None and _is_null(config, OPEN):
        raise ValueError("model=pretrained takes its architecture from weights; give some: model.weights=...")
    weights = read_weights(source) if isinstance(source, str) else None  # of the wrong kind: the check will say so
    filled: dict[str, Any] = {}
    if weights is not None:
        filled |= _architecture(config, weights)
        filled |= _preprocessing(config, weights)
    if _is_null(config, "data.interpolation"):
        filled.setdefault("data.interpolation", "bicubic")
    for key, value in filled.items():
        OmegaConf.update(config, key, value, merge=False)
    if weights is not None and filled:
        log.info(
            "as in %s: %s", source, " ".join(f"{key}={as_option(value)}" for key, value in filled.items() if not isinstance(value, dict))
        )
    if OmegaConf.select(config, "data.num_classes", throw_on_missing=False) is None:
        config.data.num_classes = len(build(resolve(config)["data"]["source"]).class_names)
    return weights


def _is_null(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return name in node and not OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, name) and node[name] is None


def _architecture(config: DictConfig, weights: Pretrained) -> dict[str, Any]:
    """Returns what model=pretrained leaves open; elsewhere null has a meaning of its own, but for `patch_size`."""
    known = weights.architecture
    filled: dict[str, Any] = {}
    if _is_null(config, OPEN):
        if not known:
            kind = (
                "a ResNet's, which fill the patch embedding of model=patch_resnet_tiny"
                if weights.trunk_only
                else "of another kind of model"
            )
            raise ValueError(f"model=pretrained: the weights of {weights.source} are {kind}; choose a model that they fit")
        keys = [str(key) for key in config.model if _is_null(config, f"model.{key}")]
        if missing := [key for key in keys if key not in known and key != "init_values"]:
            raise ValueError(f"model=pretrained: {weights.source} does not tell {', '.join(missing)}; give model.{missing[0]}=...")
        filled |= {f"model.{key}": known.get(key) for key in keys}
        if weights.guessed & set(keys):
            log.warning("model.num_heads=%s is a guess: %s does not tell", known["num_heads"], weights.source)
        if weights.patch_embed is not None:
            filled |= _patch_embed(config, weights.patch_embed)
    if _is_null(config, "patch_size"):
        if "patch_size" not in known:
            raise ValueError(f"patch_size has no value, and {weights.source} does not tell one; give patch_size=...")
        filled["patch_size"] = known["patch_size"]
    return filled


def _patch_embed(config: DictConfig, theirs: Any) -> dict[str, Any]:
    """Returns the weights' own patch embedding where the config has only the linear one that stands there unless another is chosen."""
    if theirs["_target_"] == config.patch_embed._target_ or config.patch_embed._target_ != LINEAR:
        return {}
    return {"patch_embed": dict(theirs) | SHARED_WITH_PATCH_EMBED}


def _stored_side(side: int, crop_pct: float) -> int:
    return int(side / crop_pct + 1e-6)


def _preprocessing(config: DictConfig, weights: Pretrained) -> dict[str, Any]:
    """Returns what the config leaves open of how images are prepared; says what it prepares otherwise."""
    facts = weights.preprocessing
    filled: dict[str, Any] = {}
    follows_size = _is_null(config, "data.image_size")
    if follows_size:
        size = facts.image_size if facts else weights.architecture.get("image_size")
        if size is None:
            raise ValueError(f"data.image_size has no value, and {weights.source} does not tell one; give data.image_size=...")
        filled["data.image_size"] = size
    if "stored_size" in config.data and (_is_null(config, "data.stored_size") or (follows_size and _is_the_image_size(config))):
        size, crop_pct = filled.get("data.image_size", config.data.image_size), facts.crop_pct if facts else 1.0
        filled["data.stored_size"] = (
            _stored_side(size, crop_pct) if isinstance(size, int) else [_stored_side(side, crop_pct) for side in size]
        )
    if facts is None:
        return filled
    for key, values in (("mean", facts.mean), ("std", facts.std)):
        fitting = _for_channels(values, config.data.in_channels)
        if _is_null(config, f"data.{key}") and fitting:
            filled[f"data.{key}"] = fitting
    if _is_null(config, "data.interpolation"):
        filled["data.interpolation"] = facts.interpolation
    _tell_differences(config, facts)
    return filled


def _is_the_image_size(config: DictConfig) -> bool:
    return OmegaConf.to_container(config.data, resolve=False).get("stored_size") == "${data.image_size}"  # type: ignore[union-attr]


def _for_channels(values: list[float], num_channels: int) -> list[float] | None:
    """Returns values for so many channels: grey gets the colours' mean, colours get grey's value."""
    if len(values) == num_channels:
        return values
    if num_channels == 1:
        return [sum(values) / len(values)]
    return values * num_channels if len(values) == 1 else None


def _tell_differences(config: DictConfig, facts: Preprocessing) -> None:
    """Logs where the config's own preprocessing is another than the weights were trained with."""
    for key in ("mean", "std"):
        ours = config.data[key]
        if ours is not None and list(ours) != _for_channels(getattr(facts, key), config.data.in_channels):
            log.info("data.%s=%s is the config's; the weights had %s, which data.%s=null would take", key, ours, getattr(facts, key), key)
