"""Classifiers of timm (ConvNeXt, Swin, ...) and torchvision by name, as baselines in the same loop."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn


def _known(key: str, name: str, known: Sequence[str], library: str) -> None:
    """Raises ValueError where the library has no model `name`; paths and places on a hub are no names."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"{key}=resnet18 would work"
        raise ValueError(f"{key}={name}: {library} has no such classifier; {hint}")


def _built(name: str, make: Callable[..., nn.Module], size: dict[str, Any], **arguments: Any) -> nn.Module:
    """Builds a model for images of `image_size`, or for any size where the model takes none. Raises
    ValueError for values that it does not take."""
    try:
        try:
            return make(**arguments, **size)
        except TypeError as error:
            if not any(key in str(error) for key in size):
                raise
            return make(**arguments)
    except (
        Exception
    ) as error:  # of values that only their library understands, and of weights that cannot be had
        text = " ".join(str(error).split())
        text = text if len(text) <= 160 else f"{text[:160]} ..."
        asked = ", ".join(f"{key}={value}" for key, value in (arguments | size).items())
        raise ValueError(f"model.name={name} with {asked}: {type(error).__name__}: {text}") from error


def timm_model(
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int | list[int],
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    pretrained: bool = False,
) -> nn.Module:
    """Returns timm's model of this name, such as `convnext_atto` or `swin_tiny_patch4_window7_224`.

    With `pretrained` it has the weights of its name (`convnext_atto.d2_in1k`), or its architecture's default,
    by the hub's cache; the head is fresh where the classes are others. Raises ValueError where timm is
    missing, has no such model, or does not take the values.
    """
    try:
        import timm
    except ImportError:
        raise ValueError("model=timm needs timm: pip install 'vitlab[timm]'") from None
    architecture = re.fullmatch(r"(\w+)(?:\.\w+)?", name)
    _known("model.name", architecture[1] if architecture else name, timm.list_models(), "timm")
    given = {"drop_rate": drop_rate, "drop_path_rate": drop_path_rate, "pretrained": pretrained}
    arguments = {"num_classes": num_classes, "in_chans": in_channels} | {
        key: value for key, value in given.items() if value
    }
    return _built(
        name, lambda **all_of: timm.create_model(name, **all_of), {"img_size": image_size}, **arguments
    )


WITHOUT_AUXILIARY_HEADS = {"aux_logits": False, "init_weights": True}
"""Of GoogLeNet and Inception, which else give several logits in training."""


def torchvision_model(
    name: str, num_classes: int, in_channels: int, image_size: int | list[int]
) -> nn.Module:
    """Returns torchvision's classifier of this name, such as `resnet18`, with fresh weights, for three
    channels. Raises ValueError where torchvision has no such model, or it does not take the values."""
    from torchvision import models

    _known("model.name", name, models.list_models(module=models), "torchvision")
    if in_channels != 3:
        what = f"torchvision's models take 3 channels, and data.in_channels={in_channels}"
        raise ValueError(f"model.name={name}: {what}; model=timm takes any number")
    side = (
        image_size
        if isinstance(image_size, int)
        else image_size[0]
        if len(set(image_size)) == 1
        else image_size
    )
    more = WITHOUT_AUXILIARY_HEADS if name in ("googlenet", "inception_v3") else {}
    return _built(
        name,
        lambda **all_of: models.get_model(name, **all_of),
        {"image_size": side},
        num_classes=num_classes,
        **more,
    )
