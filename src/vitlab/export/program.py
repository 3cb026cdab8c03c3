"""A few lines of code that turn a file into a model's input, for a model card, without vitlab."""

from vitlab.data.augment.crop import fitted
from vitlab.data.files.decode import DRAFT_SIDES
from vitlab.data.files.fit import GROUND, LARGE
from vitlab.data.files.sixteen_bits import FULL
from vitlab.data.preprocessing import Preprocessing
from vitlab.export.preprocessing import colour

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


COLOURS = """\

# `vitlab predict` refuses what it cannot read rightly: {refused}five bands or an
# undeclared fourth, several pages, 10 to 14 bits of a set with another white. These lines do not look for
# that.
with Image.open("picture.jpg") as picture:
    if ";16" in str(picture.tile) and isinstance(picture.info.get("transparency"), tuple):
        # Pillow keeps the high bytes
        picture.info["transparency"] = tuple(value >> 8 for value in picture.info["transparency"])
    picture.draft(None, {draft})  # a JPEG is decoded no larger than it must be
    ImageOps.exif_transpose(picture, in_place=True)
{deep}
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("{colour}")
"""

DEEP = """\
    white = 4095 if "I;12" in str(picture.tile) else {white}
    if picture.mode[0] == "I":  # 16 bits of grey
        levels = np.asarray(picture).astype(np.int64)
        clear = levels == picture.info.get("transparency", -1)
        if picture.format == "TIFF" and picture.tag_v2.get(262) == 0:  # white is zero
            levels = white - levels
        levels = np.where(clear, 255, np.clip((levels * 255 + white // 2) // white, 0, 255))
        picture = Image.fromarray(levels.astype(np.uint8))"""

RANGED = """\
    if picture.mode[0] in "IF":  # more than 8 bits of grey
        values = np.asarray(picture)
        clear = values == picture.info.get("transparency", -1)
        values = np.floor((values.astype(np.float64) - {low!r}) * (255 / ({high!r} - {low!r})) + 0.5)
        picture = Image.fromarray(np.where(clear, 255, np.clip(values, 0, 255)).astype(np.uint8))"""

BANDS = """\

# picture.jpg stands for a TIFF or a .npy file of {channels} bands; values that `vitlab predict` refuses, and
# bands in pages of their own, are not looked for
path = "picture.jpg"
if path.endswith(".npy"):
    values = np.load(path, allow_pickle=False)
else:
    import tifffile

    values = tifffile.imread(path)
values = values[..., None] if values.ndim == 2 else values
if {is_first}:
    values = values.transpose(1, 2, 0)
picture = values if values.dtype == np.uint8 else {levels}
"""

RESIZED = """\
def fit_to(picture, size):
    # picture as levels [height, width, channels], of `size` (height, width)
    if {by_torch}:
        pixels = np.asarray(picture)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        return pixels if pixels.shape[:2] == size else resize(pixels, size, "{filter_name}", True)
    picture = picture.resize(size[::-1], Image.Resampling.{FILTER})
    return np.asarray(picture).reshape(*size, -1)


"""

FITTING = {
    "crop": """\
if {by_torch}:
    rows, columns = original
    factor = min(rows / height, columns / width)
    if original != (height, width):
        rows, columns = max(round(height * factor), 1), max(round(width * factor), 1)
    top, left = (original[0] - rows) // 2, (original[1] - columns) // 2
    picture = np.asarray(picture)[top : top + rows, left : left + columns]
    pixels = fit_to(picture, (height, width))
else:
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.{FILTER})
    pixels = fit_to(picture, (height, width))
""",
    "squash": "pixels = fit_to(picture, (height, width))\n",
    "pad": """\
factor = min(height / original[0], width / original[1])
rows = min(max(round(original[0] * factor), 1), height)
columns = min(max(round(original[1] * factor), 1), width)
whole = fit_to(picture, (rows, columns))
pixels = np.full((height, width, whole.shape[2]), {ground}, np.uint8)
top, left = (height - rows) // 2, (width - columns) // 2
pixels[top : top + rows, left : left + columns] = whole
""",
}


def _reading(facts: Preprocessing) -> str:
    ranged = facts.value_range and {"low": facts.value_range[0], "high": facts.value_range[1]}
    white = facts.white or FULL
    if facts.in_channels not in (1, 3):
        scaled = f"(values.astype(np.uint32) * 255 + {white // 2}) // {white}"
        if ranged:
            scaled = "np.floor((values.astype(np.float64) - {low!r}) * (255 / ({high!r} - {low!r})) + 0.5)"
            scaled = f"np.clip({scaled.format(**ranged)}, 0, 255)"
        is_first = {"hwc": "False", "chw": 'path.endswith(".npy") or values.shape[2] != {}'}.get(
            facts.npy_layout or "", "values.shape[2] != {}"
        )
        return BANDS.format(
            channels=facts.in_channels,
            is_first=is_first.format(facts.in_channels),
            levels=f"({scaled}).astype(np.uint8)",
        )
    refused = "more than 8 bits of colour in a TIFF, " if ranged else "signed or fractional values, "
    return COLOURS.format(
        refused=refused,
        draft=(DRAFT_SIDES * max(facts.stored_size),) * 2,
        deep=RANGED.format(**ranged) if ranged else DEEP.format(white=white),
        colour=colour(facts),
    )


def in_code(facts: Preprocessing) -> str:
    """Returns Python lines that turn `picture.jpg` into `images`, a float32 array for the model, with numpy
    and Pillow (for bands tifffile), as `Preprocessing` does to the level for all that it takes."""
    stored, size = facts.stored_size, facts.image_size
    cut = fitted(stored, size)
    top, left = (stored[0] - cut[0]) // 2, (stored[1] - cut[1]) // 2
    is_measured = facts.in_channels not in (1, 3)
    words = {
        "by_torch": "True" if is_measured else f"original[0] * original[1] > {LARGE}",
        "filter_name": facts.interpolation,
        "FILTER": facts.interpolation.upper(),
        "ground": GROUND,
    }
    original = "picture.shape[:2]" if is_measured else "(picture.height, picture.width)"
    code = f"""\
{RESIZING}

{RESIZED.format(**words)}{_reading(facts)}
height, width = {stored}
original = {original}
{FITTING[facts.fit].format(**words)}"""
    if cut != stored:
        code += f"pixels = pixels[{top} : {top + cut[0]}, {left} : {left + cut[1]}]\n"
    if cut != size:
        code += f'pixels = resize(pixels, {size}, "bicubic", False)\n'
    code += f"""\
pixels = (pixels.astype(np.float32) / 255 - np.float32({list(facts.mean)})) / np.float32({list(facts.std)})
images = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])"""
    return code
