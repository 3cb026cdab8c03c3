"""How much a batch is augmented: the settings of `Augment`, and what images they do not fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from vitlab.data.augment.rand_augment import NUM_LEVELS

SHARES = ("flip", "vertical_flip", "quarter_turns", "translate", "color_jitter", "erasing")
RANGES = dict.fromkeys((*SHARES, "mix_prob", "mix_switch"), (0, 1)) | {
    "crop_padding": (0, 4096),
    "rotate_degrees": (0, 180),
    "shear_degrees": (0, 60),
    "scale": (0, 0.9),
    "num_ops": (0, 16),
    "magnitude": (0, NUM_LEVELS - 1),
    "mixup": (0, 1000),
    "cutmix": (0, 1000),
}
WHOLE = {"crop_padding", "num_ops", "magnitude"}


@dataclass(eq=False)
class Settings:
    """A stage whose value is 0 (`resized_crop`: None) is off and costs nothing. Raises ValueError for a value
    out of its range.

    - `crop_padding`: pixels of reflected padding from which a random crop is taken.
    - `resized_crop`: least and greatest share of the area that a crop shows, instead of `crop_padding`.
    - `flip`, `erasing`: probability of a mirrored image; of a box erased to the mean colour.
    - `vertical_flip`, `quarter_turns`: probability of an image upside down; of one turned by 90, 180 or 270
      degrees, each as likely (square images only).
    - `rotate_degrees`, `shear_degrees`, `scale`, `translate`: greatest change either way; the last two as
      shares of the image's side.
    - `num_ops`, `magnitude`: RandAugment's operations for each sample, and their strength from 0 to 30.
    - `color_jitter`: greatest relative change of brightness, contrast and saturation (1 at most).
    - `mixup`, `cutmix`: alpha of each one's Beta distribution; `mix_prob`: probability that a sample is
    mixed; `mix_switch`: probability that it is mixed by CutMix, where both are on. Each sample has its own
    share, and its partner is on the same device.
    """

    crop_padding: int = 0
    resized_crop: Sequence[float] | None = None
    flip: float = 0.0
    vertical_flip: float = 0.0
    quarter_turns: float = 0.0
    rotate_degrees: float = 0.0
    shear_degrees: float = 0.0
    scale: float = 0.0
    translate: float = 0.0
    num_ops: int = 0
    magnitude: int = 9
    color_jitter: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    mix_switch: float = 0.5

    def __post_init__(self) -> None:
        for key, (low, high) in RANGES.items():
            value, kind = getattr(self, key), int if key in WHOLE else int | float
            if not (isinstance(value, kind) and low <= value <= high):
                what = f"a {'whole ' if key in WHOLE else ''}number from {low:g} to {high:g}"
                raise ValueError(f"augment.{key}={value} must be {what}")
        crop = self.resized_crop
        if crop is None:
            return
        if len(crop) != 2 or not 0 < crop[0] <= crop[1] <= 1:
            raise ValueError(
                f"augment.resized_crop={crop} must be two shares of the area in order, such as [0.5, 1.0]"
            )
        if self.crop_padding:
            raise ValueError(
                f"augment.resized_crop={crop} excludes augment.crop_padding={self.crop_padding}; null or 0"
                " would work"
            )

    def check_images(self, size: tuple[int, int], channels: int) -> None:
        """Raises ValueError where images of that size cannot be turned, or have no colour to change."""
        if self.quarter_turns and size[0] != size[1]:
            raise ValueError(
                f"augment.quarter_turns={self.quarter_turns} turns squares, and data.image_size is {size[0]}"
                f" x {size[1]}; 0 would work, or a square"
            )
        for key in ("color_jitter", "num_ops"):
            if channels not in (1, 3) and getattr(self, key):
                raise ValueError(
                    f"augment.{key}={getattr(self, key)} changes colours, and data.in_channels={channels} has"
                    " none; 0 would work"
                )

    def check_stored(self, stored: tuple[int, int]) -> None:
        """Raises ValueError where images of that size cannot be padded by `crop_padding`, by reflection."""
        if self.crop_padding >= min(stored):
            raise ValueError(
                f"augment.crop_padding={self.crop_padding} must be below the {min(stored)} px of the stored"
                f" images' side; 0 to {min(stored) - 1} would work"
            )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, and their labels with them."""
        return bool(self.mixup or self.cutmix)
