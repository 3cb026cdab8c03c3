"""What turns a photograph into a model's input: numbers for other libraries, plain words for readers, a few lines of code for users."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from vitlab.data.augment.crop import fitted

Facts = Mapping[str, Any]
"""What `ImageData.preprocessing` returned: stored_size, image_size, in_channels, mean, std, and interpolation but in old checkpoints."""


class ResizeAndCrop(NamedTuple):
    """How timm and transformers look at a picture: its shorter side scaled to `shorter_side`, then the centre of `size` cut out.

    `same` tells whether vitlab's own view of any picture is one such scaling and cut, to a pixel.
    """

    shorter_side: int
    size: tuple[int, int]
    same: bool


def interpolation(facts: Facts) -> str:
    """Returns Pillow's word for it, in lower case."""
    return facts.get("interpolation", "bicubic")


def colour(facts: Facts) -> str:
    """Returns Pillow's mode of pictures with so many channels."""
    return {1: "L", 3: "RGB"}[facts["in_channels"]]


def resize_and_crop(facts: Facts) -> ResizeAndCrop:
    """Returns the view nearest to vitlab's."""
    stored, size = tuple(facts["stored_size"]), tuple(facts["image_size"])
    scale = max(1.0, min(stored[0] / size[0], stored[1] / size[1]))
    same = all(math.isclose(side * scale, whole) for side, whole in zip(size, stored, strict=True))
    return ResizeAndCrop(round(min(size) * scale), (size[0], size[1]), same)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px (height x width)"


def in_words(facts: Facts) -> list[str]:
    """Returns what to do with a picture, step by step."""
    stored, size, filter_name = tuple(facts["stored_size"]), tuple(facts["image_size"]), interpolation(facts)
    cut = fitted(stored, size)
    kind = {"L": "grey", "RGB": "RGB"}[colour(facts)]
    steps = [
        f"Turn the picture upright (EXIF), lay what is transparent on white, convert to {kind} of 8 bits.",
        f"Cut out its largest centred part of the shape of {_by(stored)} and resize it to that, {filter_name}, antialiased.",
    ]
    if cut != stored:
        steps.append(f"Cut out the centre, {_by(cut)}.")
    if cut != size:
        steps.append(f"Enlarge it to {_by(size)}, bicubic, rounded to whole levels.")
    steps.append(f"Divide by 255, subtract {facts['mean']} and divide by {facts['std']}, a value a channel.")
    steps.append(f"Arrange as float32 [batch, {facts['in_channels']}, {size[0]}, {size[1]}].")
    return steps


def in_code(facts: Facts) -> str:
    """Returns Python lines that turn `picture.jpg` into `images`, a float32 array for the model; they need numpy and Pillow."""
    stored, size = tuple(facts["stored_size"]), tuple(facts["image_size"])
    cut = fitted(stored, size)
    top, left = (stored[0] - cut[0]) // 2, (stored[1] - cut[1]) // 2
    lines = [
        f'picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("{colour(facts)}")',
        f"picture = ImageOps.fit(picture, {stored[::-1]}, Image.Resampling.{interpolation(facts).upper()})",
    ]
    if cut != stored:
        lines.append(f"picture = picture.crop(({left}, {top}, {left + cut[1]}, {top + cut[0]}))")
    if cut != size:
        lines.append(f"picture = picture.resize({size[::-1]}, Image.Resampling.BICUBIC)")
    lines += [
        f"pixels = np.asarray(picture, np.float32).reshape({size[0]}, {size[1]}, {facts['in_channels']}) / 255",
        f"images = (pixels - np.float32({facts['mean']})) / np.float32({facts['std']})",
        "images = images.transpose(2, 0, 1)[None]",
    ]
    return "\n".join(lines)


def as_json(facts: Facts, class_names: list[str]) -> dict[str, Any]:
    """Returns the content of preprocessing.json."""
    return {
        "steps": in_words(facts),
        "colour": colour(facts),
        "stored_size": list(facts["stored_size"]),
        "centre": list(fitted(tuple(facts["stored_size"]), tuple(facts["image_size"]))),
        "image_size": list(facts["image_size"]),
        "interpolation": interpolation(facts),
        "mean": list(facts["mean"]),
        "std": list(facts["std"]),
        "class_names": class_names,
    }
