"""State dicts of torchvision's ViTs and ResNets."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitlab.weights import names
from vitlab.weights.facts import Pretrained
from vitlab.weights.files import read_torch
from vitlab.weights.preprocessing import TheirPreprocessing
from vitlab.weights.readers.in_common import NORM_EPS, pretrained_of

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def read_torchvision(path: Path, source: str) -> Pretrained:
    """Reads the state dict of a ViT or ResNet of torchvision's."""
    return from_torchvision_state(read_torch(path), source)


def from_torchvision_state(
    state: Mapping[str, Any],
    source: str,
    preprocessing: TheirPreprocessing | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Pretrained:
    """Returns what torchvision's state dict tells; without `preprocessing` its preset is taken."""
    if "layer1.0.conv1.weight" in state and "conv1.weight" in state:
        preset = preprocessing or TheirPreprocessing(224, 224 / 256, "bilinear", IMAGENET_MEAN, IMAGENET_STD)
        return Pretrained(
            source, names.from_torchvision_resnet(state), {}, preprocessing=preset, trunk_only=True
        )
    read = pretrained_of(
        source, names.from_torchvision(state), {"norm_eps": NORM_EPS}, class_names=class_names
    )
    if preprocessing is None and "image_size" in read.architecture:
        size = read.architecture["image_size"]
        preprocessing = TheirPreprocessing(
            size, 224 / 256 if size == 224 else 1.0, "bilinear", IMAGENET_MEAN, IMAGENET_STD
        )
    return replace(read, preprocessing=preprocessing)
