"""What turns a photograph into a model's input: numbers for other libraries, and plain words for readers."""

import math
from typing import Any, NamedTuple

from vitlab.data.augment.crop import fitted
from vitlab.data.files.fit import GROUND
from vitlab.data.files.sixteen_bits import FULL
from vitlab.data.preprocessing import Preprocessing


class ResizeAndCrop(NamedTuple):
    """How timm and transformers look at a picture: its shorter side scaled to `shorter_side`, the centre of
    `size` cut out. `same` tells whether vitlab's view is one such scaling and cut, to a pixel."""

    shorter_side: int
    size: tuple[int, int]
    same: bool


def colour(facts: Preprocessing) -> str:
    """Returns Pillow's mode of pictures with so many channels, or how many bands there are."""
    return {1: "L", 3: "RGB"}.get(facts.in_channels, f"{facts.in_channels} bands")


def resize_and_crop(facts: Preprocessing) -> ResizeAndCrop:
    """Returns the view nearest to vitlab's."""
    stored, size = facts.stored_size, facts.image_size
    scale = max(1.0, min(stored[0] / size[0], stored[1] / size[1]))
    same = all(math.isclose(side * scale, whole) for side, whole in zip(size, stored, strict=True))
    return ResizeAndCrop(round(min(size) * scale), (size[0], size[1]), same)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px (height x width)"


FITTING = {
    "crop": (
        "Cut out its largest centred part of the shape of {size} and resize it to that, {filter},"
        " antialiased."
    ),
    "squash": "Resize all of it to {size}, whatever its shape, {filter}, antialiased.",
    "pad": (
        "Resize all of it, its shape kept, to the largest size that fits into {size}, {filter}, antialiased,"
        f" and lay it on the middle of a ground of that size and of level {GROUND} in every channel."
    ),
}


def _reading(facts: Preprocessing) -> str:
    deep = f"scale 16 bits to 8 ({facts.white or FULL} is white)"
    if facts.value_range is not None:
        low, high = facts.value_range
        deep = f"scale values of more than 8 bits so that {low:g} becomes 0 and {high:g} becomes 255, clipped"
    if facts.in_channels not in (1, 3):
        return f"Take the {facts.in_channels} bands as they are stored, {deep}, round them to 8 bits."
    kind = {"L": "grey", "RGB": "RGB"}[colour(facts)]
    return (
        f"Turn the picture upright (EXIF), {deep}, lay what is transparent on white, convert to {kind} of 8"
        " bits."
    )


def in_words(facts: Preprocessing) -> list[str]:
    """Returns what to do with a picture, step by step."""
    stored, size, filter_name = facts.stored_size, facts.image_size, facts.interpolation
    cut = fitted(stored, size)
    steps = [_reading(facts), FITTING[facts.fit].format(size=_by(stored), filter=filter_name)]
    if cut != stored:
        steps.append(f"Cut out the centre, {_by(cut)}.")
    if cut != size:
        steps.append(f"Enlarge it to {_by(size)}, bicubic, rounded to whole levels.")
    steps.append(
        f"Divide by 255, subtract {list(facts.mean)} and divide by {list(facts.std)}, a value a channel."
    )
    steps.append(f"Arrange as float32 [batch, {facts.in_channels}, {size[0]}, {size[1]}].")
    return steps


def as_json(facts: Preprocessing, class_names: list[str]) -> dict[str, Any]:
    """Returns the content of preprocessing.json."""
    return {
        "steps": in_words(facts),
        "colour": colour(facts),
        "fit": facts.fit,
        "stored_size": list(facts.stored_size),
        "centre": list(fitted(facts.stored_size, facts.image_size)),
        "image_size": list(facts.image_size),
        "interpolation": facts.interpolation,
        "mean": list(facts.mean),
        "std": list(facts.std),
        "class_names": class_names,
    }
