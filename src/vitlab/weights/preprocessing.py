"""How the images of pretrained weights were prepared, as the libraries that wrote them describe it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vitlab.data.files.fit import Fit
from vitlab.data.preprocessing import LONGEST_SIDE, is_number, is_side

LEAST_SHARE = 0.01
"""Of a picture's side that a centre crop keeps; less is a damaged number."""

FIT_OF_CROP_MODE: dict[str, Fit] = {"center": "crop", "squash": "squash", "border": "pad"}
"""Values of data.fit by timm's crop_mode."""

CROP_MODE_OF_FIT = {fit: crop_mode for crop_mode, fit in FIT_OF_CROP_MODE.items()}

PILLOW_RESAMPLING = {2: "bilinear", 3: "bicubic"}


def image_size_of(size: Any) -> int | list[int]:
    """Returns the side of a square, else [height, width]. Raises ValueError for what is no size."""
    sides = [size, size] if isinstance(size, int) else size
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(map(is_side, sides)):
        raise ValueError(
            f"its description says that images are {str(size)[:60]} px; a side up to {LONGEST_SIDE} or two"
            " would work"
        )
    return sides[0] if sides[0] == sides[1] else list(sides)


@dataclass(frozen=True)
class TheirPreprocessing:
    """How images were prepared: resized to `image_size` / `crop_pct`, cropped in the centre, normalised.
    Where `crop_mode` is not "center" they were squeezed to the size ("squash") or enlarged by a border.
    Raises ValueError for numbers that cannot be."""

    image_size: int | list[int]
    crop_pct: float
    interpolation: str
    mean: list[float]
    std: list[float]
    crop_mode: str = "center"

    def __post_init__(self):
        image_size_of(self.image_size)
        is_sound = {
            "crop_pct": is_number(self.crop_pct) and LEAST_SHARE <= self.crop_pct <= 1,
            "interpolation": self.interpolation in ("bicubic", "bilinear"),
            "mean": len(self.mean) > 0 and all(is_number(value) for value in self.mean),
            "std": (
                len(self.std) == len(self.mean) and all(is_number(value) and value > 0 for value in self.std)
            ),
        }
        for key, sound in is_sound.items():
            if not sound:
                raise ValueError(
                    f"its description says {key}={str(getattr(self, key))[:60]}, by which no image can have"
                    " been prepared"
                )


def timm_preprocessing(facts: Mapping[str, Any]) -> TheirPreprocessing | None:
    """Reads the part of timm's config.json that is called pretrained_cfg; None where it does not tell."""
    if not {"input_size", "mean", "std"} <= facts.keys():
        return None
    return TheirPreprocessing(
        image_size=image_size_of(facts["input_size"][1:]),
        crop_pct=facts.get("crop_pct", 0.875),  # timm's own default
        interpolation="bilinear" if facts.get("interpolation") == "bilinear" else "bicubic",
        mean=list(facts["mean"]),
        std=list(facts["std"]),
        crop_mode=facts.get("crop_mode") or "center",
    )


def hugging_face_preprocessing(facts: Mapping[str, Any], image_size: int | list[int]) -> TheirPreprocessing:
    """Reads an image processor's preprocessor_config.json."""

    def side(size: Any) -> int:
        return size if isinstance(size, int) else size.get("shortest_edge") or size["height"]

    size = facts.get("size", image_size if isinstance(image_size, int) else image_size[0])
    stored = side(size)
    cropped = side(facts["crop_size"]) if facts.get("do_center_crop") and facts.get("crop_size") else stored
    normalises = facts.get("do_normalize", True)
    return TheirPreprocessing(
        image_size=cropped,
        crop_pct=min(cropped / stored, 1.0),
        interpolation=PILLOW_RESAMPLING.get(facts.get("resample", 2), "bicubic"),
        mean=list(facts.get("image_mean") or [0.5] * 3) if normalises else [0.0] * 3,
        std=list(facts.get("image_std") or [0.5] * 3) if normalises else [1.0] * 3,
        crop_mode="center" if isinstance(size, dict) and "shortest_edge" in size else "squash",
    )
