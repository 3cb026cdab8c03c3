"""Which options of the config would make a model that the weights fit."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vitlab.models.vit import VisionTransformer
from vitlab.weights.facts import Pretrained, describe

TRUNK = "patch_embed.trunk."

LINEAR = "vitlab.models.patch_embed.LinearPatchEmbed"

PATCH_EMBEDS = {
    "LinearPatchEmbed": "linear",
    "ConvStem": "conv_stem",
    "PatchResNet": "patch_resnet",
    "ResNetStage": "resnet_stage",
}
"""By class, the option of the config group that builds it."""


def as_option(value: Any) -> str:
    """Returns a value as one writes it on the command line."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else f"{value}"


def options_that_fit(model: nn.Module, weights: Pretrained, mismatches: str) -> list[str]:
    """Returns the options by which config and weights differ; `mismatches` says where they do not fit."""
    if not isinstance(model, VisionTransformer) or not weights.architecture:
        return []
    ours, options = describe(model), []
    for key, value in weights.architecture.items():
        if key in ("image_size", "norm_eps") or key in weights.guessed or ours.get(key) == value:
            continue
        if key == "init_values" and None not in (value, ours[key]):
            continue  # both have layer scale: its start does not matter
        options.append(f"{'' if key == 'patch_size' else 'model.'}{key}={as_option(value)}")
    theirs = dict(weights.patch_embed or {"_target_": LINEAR})
    name = theirs.pop("_target_").rpartition(".")[2]
    if name != type(model.patch_embed).__name__:
        options.append(f"patch_embed={PATCH_EMBEDS.get(name, name)}")
    if "patch_embed." in mismatches:
        own = [key for key in theirs if key not in ("patch_size", "in_channels", "embed_dim")]
        options += [f"patch_embed.{key}={as_option(theirs[key])}" for key in own]
    return options


def options_for_trunk(ours: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Returns the options of the patch embedding that a ResNet's weights need."""
    if not any(name.startswith(TRUNK) for name in ours):
        return ["patch_embed=patch_resnet patch_embed.stem=imagenet patch_embed.norm=batch"]
    basic = "resnet34" if f"{TRUNK}layer1.2.conv1.weight" in state else "resnet18"
    options = ["patch_embed.resnet=" + ("resnet50" if f"{TRUNK}layer1.0.conv3.weight" in state else basic)]
    if ours[f"{TRUNK}conv1.weight"].shape[2:] != state[f"{TRUNK}conv1.weight"].shape[2:]:
        options.append("patch_embed.stem=imagenet")
    if f"{TRUNK}bn1.running_mean" not in ours:
        options.append("patch_embed.norm=batch")
    return options
