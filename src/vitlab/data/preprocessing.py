"""What turns a picture file into a model's input: a few numbers that a checkpoint keeps."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitlab.data.augment.crop import centre_view, normalise
from vitlab.data.files.bands import Layout, bands_for_people
from vitlab.data.files.decode import MAX_MEGAPIXELS, Reading, read_as_people_see_it, read_image
from vitlab.data.files.fit import FITS, Fit, Interpolation
from vitlab.data.files.sixteen_bits import FULL, WHITES
from vitlab.shapes import Pixels

LONGEST_SIDE = 4096
"""Pixels of a picture that a model is shown."""

MOST_CHANNELS = 4096


def is_number(value: Any) -> bool:
    """Tells whether a value from a stranger's file is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)


def is_side(value: Any) -> bool:
    """Tells whether a value from a stranger's file is the side of a picture that a machine can hold."""
    return type(value) is int and 0 < value <= LONGEST_SIDE


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_side, value))


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] < value[1]


def _are_bands(value: Any, channels: Any) -> bool:
    are_three = isinstance(value, list) and len(value) == 3
    return are_three and all(type(band) is int and 0 <= band < channels for band in value)


def _wrong_key(plain: Any) -> str | None:
    """Returns the first key whose value no `Preprocessing.as_plain` has written."""
    plain = plain if isinstance(plain, dict) else {}
    channels, mean, std = (plain.get(key) for key in ("in_channels", "mean", "std"))
    is_sound = {
        "in_channels": type(channels) is int and 1 <= channels <= MOST_CHANNELS,
        "mean": isinstance(mean, list) and len(mean) == channels and all(map(is_number, mean)),
        "std": isinstance(std, list) and len(std) == channels and all(is_number(v) and v > 0 for v in std),
        "image_size": _is_size(plain.get("image_size")),
        "stored_size": _is_size(plain.get("stored_size")),
        "interpolation": plain.get("interpolation") in ("bicubic", "bilinear"),
        "white": plain.get("white", FULL) in WHITES,
        "fit": plain.get("fit", "crop") in FITS,
        "value_range": _is_range(plain.get("value_range", [0, 1])),
        "npy_layout": plain.get("npy_layout", "hwc") in ("hwc", "chw"),
        "shown_bands": "shown_bands" not in plain or _are_bands(plain["shown_bands"], channels),
    }
    return next((key for key, sound in is_sound.items() if not sound), None)


@dataclass(frozen=True)
class Preprocessing:
    """How evaluation sees a picture: its largest centred part of the right shape (or what else `fit` says)
    becomes `stored_size`, of that the centre becomes `image_size`, and levels are normalised by `mean` and
    `std`.

    Sizes are (height, width) in pixels. `mean` and `std` have a value a channel, on a scale from 0 to 1.
    `white` is the value that is white in files of 16 bits; None: no such file was seen. `value_range` are the
    values of black and white that were stated, `npy_layout` where arrays have their channels, `shown_bands`
    the channels that people see as red, green and blue (None: grey, colour, or the first three).
    """

    stored_size: tuple[int, int]
    image_size: tuple[int, int]
    in_channels: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: int | None = None
    fit: Fit = "crop"
    value_range: tuple[float, float] | None = None
    npy_layout: Layout | None = None
    shown_bands: tuple[int, ...] | None = None

    def reading(self, max_megapixels: int = MAX_MEGAPIXELS) -> Reading:
        """Returns how files are read."""
        return Reading(self.white, max_megapixels, self.value_range, self.npy_layout)

    def bands_for_people(self) -> tuple[int, ...]:
        """Returns the channels that people see as red, green and blue."""
        return bands_for_people(self.in_channels, self.shown_bands)

    def read_for_people(self, file: Path, max_megapixels: int = MAX_MEGAPIXELS) -> np.ndarray:
        """Returns the whole picture as people see it, uint8 [height, width, 3], or raises as `read` does."""
        bands, reading = self.bands_for_people(), self.reading(max_megapixels)
        return read_as_people_see_it(file, self.in_channels, bands, reading)

    def read(self, file: Path, max_megapixels: int = MAX_MEGAPIXELS) -> Tensor:
        """Returns a file at the stored size: uint8 [channels, height, width], or raises ValueError."""
        how = (self.interpolation, self.reading(max_megapixels), self.fit)
        return torch.from_numpy(read_image(file, self.stored_size, self.in_channels, *how))

    def view(
        self, pixels: Pixels
    ) -> Float[Tensor, "batch channels {self.image_size[0]} {self.image_size[1]}"]:
        """Returns what the model sees of stored images, on their device."""
        return normalise(centre_view(pixels, self.image_size), self.mean, self.std)

    def as_plain(self) -> dict[str, Any]:
        """Returns plain data, for a checkpoint; `from_plain` reads it."""
        values = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_plain(cls, plain: Any) -> "Preprocessing":
        """Reads what `as_plain` returned. Raises ValueError with the name of a key whose value is anything
        else, such as `preprocessing.mean`."""
        if (key := _wrong_key(plain)) is not None:
            raise ValueError(f"preprocessing.{key}")
        sizes = {key: (plain[key][0], plain[key][1]) for key in ("stored_size", "image_size")}
        scale = {key: tuple(plain[key]) for key in ("mean", "std")}
        low, high = plain.get("value_range", (0, 1))
        bands = plain.get("shown_bands")
        return cls(
            **sizes,
            **scale,
            in_channels=plain["in_channels"],
            interpolation=plain["interpolation"],
            white=plain.get("white"),
            fit=plain.get("fit", "crop"),  # checkpoints of before it could be chosen lack it
            value_range=(low, high) if "value_range" in plain else None,
            npy_layout=plain.get("npy_layout"),
            shown_bands=None if bands is None else tuple(bands),
        )
