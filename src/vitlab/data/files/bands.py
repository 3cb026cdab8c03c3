"""Measurements as pictures: from any kind of number to levels from 0 to 255, and which bands people see."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vitlab.data.files.sixteen_bits import FULL, check_range, scaled_to_8_bit

Layout = Literal["hwc", "chw"]
"""Where the channels of an array stand: last or first."""


def check_reading(value_range: Sequence[float] | None, layout: str | None) -> None:
    """Raises ValueError where the config states a range or a layout that cannot be."""
    if value_range is not None:
        are_numbers = all(isinstance(value, int | float) and np.isfinite(value) for value in value_range)
        if len(value_range) != 2 or not are_numbers or not value_range[0] < value_range[1]:
            raise ValueError(
                f"data.value_range={list(value_range)}: give the values of black and white, such as [0,10000]"
            )
    if layout not in (None, "hwc", "chw"):
        raise ValueError(f"data.npy_layout={layout}: give hwc (channels last), chw (first) or null")


def to_levels(
    values: np.ndarray, value_range: tuple[float, float] | None, white: int | None
) -> tuple[np.ndarray, int, bool]:
    """Returns values as uint8, the highest of them where they are of 16 bits without a stated range (else 0),
        and whether any lies beyond the range.

    Values of 8 bits stay. Others go from `value_range` to 0..255, and what lies beyond is clipped; without a
    range those of 16 bits are taken for levels up to `white`. Raises ValueError where the range is not known.
    """
    if values.dtype == bool:
        return values.astype(np.uint8) * 255, 0, False
    if values.dtype == np.uint8:
        return values, 0, False
    if values.dtype.kind not in "iuf":
        raise ValueError(f"its values are {values.dtype}; whole or floating-point numbers would work")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        missing = f"{int((~np.isfinite(values)).sum()):,} of {values.size:,}"
        raise ValueError(f"{missing} values are not finite; fill them in, with the lowest value for example")
    if value_range is not None:
        levels, beyond = scaled_to_8_bit(values, value_range)
        return levels, 0, beyond
    if values.dtype != np.uint16:
        low, high = values.min(), values.max()
        raise ValueError(
            f"{values.dtype} values, here from {low:,g} to {high:,g}, have no known range;"
            f" data.value_range=[{low:g},{high:g}] would take these for black and white"
        )
    highest = int(values.max())
    check_range(highest, white)
    top = white or FULL
    return ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8), highest, False


def bands_for_people(channels: int, shown_bands: Sequence[int] | None) -> tuple[int, ...]:
    """Returns the channels that people see as red, green and blue: `shown_bands`, which must be three of them
    (or ValueError), else the first three, or of fewer the first as grey."""
    if shown_bands is None:
        return (0, 1, 2) if channels >= 3 else (0, 0, 0)
    are_there = all(isinstance(band, int) and 0 <= band < channels for band in shown_bands)
    if len(shown_bands) != 3 or not are_there:
        raise ValueError(
            f"data.shown_bands={list(shown_bands)}: give three channels from 0 to {channels - 1} (shown as"
            " red, green, blue)"
        )
    return tuple(shown_bands)


def as_colours(pixels: np.ndarray, shown_bands: Sequence[int] | None) -> np.ndarray:
    """Returns pixels [height, width, channels] as [height, width, 3], by `bands_for_people`."""
    return np.ascontiguousarray(pixels[..., list(bands_for_people(pixels.shape[-1], shown_bands))])
