"""What turns a photograph into a model's input: numbers for other libraries, plain words for readers, a few
lines of code for users."""

import math
from typing import Any, NamedTuple

from vitlab.data.augment.crop import fitted
from vitlab.data.files.decode import DRAFT_SIDES, LARGE
from vitlab.data.files.sixteen_bits import FULL
from vitlab.data.preprocessing import Preprocessing


class ResizeAndCrop(NamedTuple):
    """How timm and transformers look at a picture: its shorter side scaled to `shorter_side`, then the centre
    of `size` cut out.

    `same` tells whether vitlab's own view of any picture is one such scaling and cut, to a pixel.
    """

    shorter_side: int
    size: tuple[int, int]
    same: bool


def colour(facts: Preprocessing) -> str:
    """Returns Pillow's mode of pictures with so many channels."""
    return {1: "L", 3: "RGB"}[facts.in_channels]


def resize_and_crop(facts: Preprocessing) -> ResizeAndCrop:
    """Returns the view nearest to vitlab's."""
    stored, size = facts.stored_size, facts.image_size
    scale = max(1.0, min(stored[0] / size[0], stored[1] / size[1]))
    same = all(math.isclose(side * scale, whole) for side, whole in zip(size, stored, strict=True))
    return ResizeAndCrop(round(min(size) * scale), (size[0], size[1]), same)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px (height x width)"


def in_words(facts: Preprocessing) -> list[str]:
    """Returns what to do with a picture, step by step."""
    stored, size, filter_name = facts.stored_size, facts.image_size, facts.interpolation
    cut = fitted(stored, size)
    kind = {"L": "grey", "RGB": "RGB"}[colour(facts)]
    steps = [
        (
            f"Turn the picture upright (EXIF), scale 16 bits to 8 ({facts.white or FULL} is white), lay"
            f" what is transparent on white, convert to {kind} of 8 bits."
        ),
        (
            f"Cut out its largest centred part of the shape of {_by(stored)} and resize it to that,"
            f" {filter_name}, antialiased."
        ),
    ]
    if cut != stored:
        steps.append(f"Cut out the centre, {_by(cut)}.")
    if cut != size:
        steps.append(f"Enlarge it to {_by(size)}, bicubic, rounded to whole levels.")
    steps.append(
        f"Divide by 255, subtract {list(facts.mean)} and divide by {list(facts.std)}, a value a channel."
    )
    steps.append(f"Arrange as float32 [batch, {facts.in_channels}, {size[0]}, {size[1]}].")
    return steps


RESIZING = """\
def weights(source, target, filter_name):
    # [target, source]: torch's antialiased resizing of one side
    stretch = max(source / target, 1.0)
    table = np.zeros((target, source))
    for row in range(target):
        centre = source / target * (row + 0.5)
        reach = (2 if filter_name == "bicubic" else 1) * stretch
        first, last = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), source)
        x = np.abs(np.arange(first, last) - centre + 0.5) / stretch
        cubic = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2)
        kernel = cubic if filter_name == "bicubic" else 1 - x
        table[row, first:last] = kernel / kernel.sum()
    return table


def resize(pixels, size, filter_name, to_levels):
    for axis in (1, 0):
        table = weights(pixels.shape[axis], size[axis], filter_name)
        if to_levels:  # after each side, by whole weights of 16 bits
            greatest = table.max()
            fits = (bits for bits in range(22) if int(greatest * 2 ** (bits + 1) + 0.5) >= 2**15)
            bits = next(fits, 22)
            table = np.trunc(table * 2**bits + np.copysign(0.5, table))
        pixels = np.moveaxis(np.tensordot(table, pixels.astype(np.float64), (1, axis)), 0, axis)
        pixels = np.clip(np.floor(pixels / 2**bits + 0.5), 0, 255) if to_levels else pixels
    return pixels if to_levels else np.clip(np.round(pixels), 0, 255)
"""
"""Pillow's rounding differs from torch's in one pixel of some hundred, which an answer can show."""


def in_code(facts: Preprocessing) -> str:
    """Returns Python lines that turn `picture.jpg` into `images`, a float32 array for the model; they need
    numpy and Pillow.

    They do what `decode.read_image`, `centre_view` and `normalise` do, for every kind of picture that these
    take, to the level.
    """
    stored, size, filter_name = facts.stored_size, facts.image_size, facts.interpolation
    cut = fitted(stored, size)
    top, left = (stored[0] - cut[0]) // 2, (stored[1] - cut[1]) // 2
    code = f"""\
{RESIZING}

# `vitlab predict` refuses what it cannot read rightly: signed or fractional values, five bands or an
# undeclared fourth, several pages, 10 to 14 bits of a set with another white. These lines do not look for
# that.
with Image.open("picture.jpg") as picture:
    if ";16" in str(picture.tile) and isinstance(picture.info.get("transparency"), tuple):
        # Pillow keeps the high bytes
        picture.info["transparency"] = tuple(value >> 8 for value in picture.info["transparency"])
    white = 4095 if "I;12" in str(picture.tile) else {facts.white or FULL}
    picture.draft(None, {(DRAFT_SIDES * max(stored),) * 2})  # a JPEG is decoded no larger than it must be
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode[0] == "I":  # 16 bits of grey
        levels = np.asarray(picture).astype(np.int64)
        clear = levels == picture.info.get("transparency", -1)
        if picture.format == "TIFF" and picture.tag_v2.get(262) == 0:  # white is zero
            levels = white - levels
        levels = np.where(clear, 255, np.clip((levels * 255 + white // 2) // white, 0, 255))
        picture = Image.fromarray(levels.astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("{colour(facts)}")

height, width = {stored}
if picture.width * picture.height > {LARGE} and picture.size != (width, height):
    factor = min(picture.height / height, picture.width / width)
    rows, columns = max(round(height * factor), 1), max(round(width * factor), 1)
    top, left = (picture.height - rows) // 2, (picture.width - columns) // 2
    pixels = np.asarray(picture.crop((left, top, left + columns, top + rows))).reshape(rows, columns, -1)
    pixels = resize(pixels, (height, width), "{filter_name}", True)
else:
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.{filter_name.upper()})
    pixels = np.asarray(picture).reshape(height, width, -1)
"""
    if cut != stored:
        code += f"pixels = pixels[{top} : {top + cut[0]}, {left} : {left + cut[1]}]\n"
    if cut != size:
        code += f'pixels = resize(pixels, {size}, "bicubic", False)\n'
    code += f"""\
pixels = (pixels.astype(np.float32) / 255 - np.float32({list(facts.mean)})) / np.float32({list(facts.std)})
images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])"""
    return code


def as_json(facts: Preprocessing, class_names: list[str]) -> dict[str, Any]:
    """Returns the content of preprocessing.json."""
    return {
        "steps": in_words(facts),
        "colour": colour(facts),
        "stored_size": list(facts.stored_size),
        "centre": list(fitted(facts.stored_size, facts.image_size)),
        "image_size": list(facts.image_size),
        "interpolation": facts.interpolation,
        "mean": list(facts.mean),
        "std": list(facts.std),
        "class_names": class_names,
    }
