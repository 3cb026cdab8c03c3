"""Augmentation of a batch on its device: each sample's parameters follow from the seed and its place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vitlab.data.augment import geometry
from vitlab.data.augment.boxes import CROP_ASPECT, outside, random_boxes
from vitlab.data.augment.colour import apply_tables, brightness, contrast, saturation
from vitlab.data.augment.crop import (
    enlarged,
    fitted,
    normalise,
    quarter_turned,
    random_crop_flip,
    upside_down,
)
from vitlab.data.augment.draws import Draws
from vitlab.data.augment.mixing import cutmix_boxes, mix
from vitlab.data.augment.rand_augment import NUM_LEVELS, rand_augment
from vitlab.shapes import Images, Pixels, SoftLabels, Targets

ERASED_AREA, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 3.3)
"""Share of the image and height to width of an erased box, as in Zhong et al. 2020 (arXiv:1708.04896)."""


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
class Augment:
    """Makes stored images into a training batch: crop and flip, affine view, RandAugment, colour jitter,
    normalise, erasing, mixing.

    A stage whose value is 0 (`resized_crop`: None) is off and costs nothing. Raises ValueError for a value
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

    def _affine(self, draws: Draws, size: tuple[int, int]) -> geometry.Matrices:
        angle, shear_x, shear_y, factor, x, y = (2 * draws.uniform("affine", 6) - 1).unbind(1)
        slope_x, slope_y = (torch.deg2rad(self.shear_degrees * shear).tan() for shear in (shear_x, shear_y))
        moved = geometry.translation(self.translate * size[1] * x, self.translate * size[0] * y)
        sized = geometry.shearing(slope_x, slope_y) @ geometry.scaling(1 + self.scale * factor)
        return sized @ geometry.rotation(self.rotate_degrees * angle) @ moved

    def _cropped(
        self, pixels: Pixels, draws: Draws, size: tuple[int, int]
    ) -> UInt8[Tensor, "batch channels rows columns"]:
        """Returns crops at the stored resolution: of `size`, or less where the stored images are smaller."""
        stored, padding = (pixels.shape[2], pixels.shape[3]), self.crop_padding
        cut = fitted(stored, size)
        if cut == stored and not padding and not self.flip:
            return pixels
        self.check_stored(stored)
        top, left, flip = draws.uniform("crop", 3).unbind(1)
        top, left = (
            (draw * (side + 2 * padding - part + 1)).long()
            for draw, side, part in zip((top, left), stored, cut, strict=True)
        )
        return random_crop_flip(pixels, top, left, flip < self.flip, cut, padding)

    def _view(
        self, pixels: Pixels, draws: Draws, size: tuple[int, int], is_cropped: bool = False
    ) -> UInt8[Tensor, "batch channels {size[0]} {size[1]}"]:
        warped = any((self.rotate_degrees, self.shear_degrees, self.scale, self.translate))
        if is_cropped and not warped:
            return pixels
        if is_cropped:
            cropped, stored = pixels, size
            boxes = torch.tensor([0.0, 0.0, *size]).expand(len(pixels), 4)
        elif self.resized_crop is None:
            cropped = self._cropped(pixels, draws, size)
            if not warped:
                return enlarged(cropped, size)
            stored = (cropped.shape[2], cropped.shape[3])
            boxes = torch.tensor([0.0, 0.0, *stored]).expand(len(pixels), 4)
        else:
            cropped, stored = pixels, (pixels.shape[2], pixels.shape[3])
            drawn = draws.uniform("crop", 5)
            boxes = random_boxes(drawn[:, :4], self.resized_crop, CROP_ASPECT, stored)
            boxes = torch.where(drawn[:, 4:] < self.flip, boxes[:, [0, 3, 2, 1]], boxes)
            if not warped:
                return geometry.resized(pixels, boxes, size)
        matrices = geometry.window(boxes, stored, size) @ self._affine(draws, size)
        return geometry.sample(cropped, matrices, size)

    def _stood(self, pixels: Pixels, draws: Draws) -> Pixels:
        """Returns images upside down and turned by quarters, each by its own draw."""
        if self.vertical_flip:
            pixels = upside_down(pixels, draws.uniform("vertical_flip", 1)[:, 0] < self.vertical_flip)
        if self.quarter_turns:
            turned, by = draws.uniform("quarter_turns", 2).unbind(1)
            turns = torch.where(turned < self.quarter_turns, 1 + (3 * by).long(), 0)
            pixels = quarter_turned(pixels, turns.to(pixels.device, non_blocking=True))
        return pixels

    def _jittered(self, pixels: Pixels, draws: Draws) -> Pixels:
        factors = 1 + self.color_jitter * (2 * draws.uniform("color_jitter", 3) - 1)
        for_brightness, for_contrast, for_saturation = factors.to(pixels.device, non_blocking=True).unbind(1)
        pixels = apply_tables(pixels, brightness(for_brightness))
        pixels = apply_tables(pixels, contrast(pixels, for_contrast))
        return saturation(pixels, for_saturation)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, and their labels with them."""
        return bool(self.mixup or self.cutmix)

    def _mixed(
        self, images: Images, labels: Targets, draws: Draws, num_classes: int, weights: Tensor | None
    ) -> tuple[Images, SoftLabels]:
        size, device = (images.shape[2], images.shape[3]), images.device
        drawn = draws.uniform("mix", 4)
        mixed = drawn[:, 0] < self.mix_prob
        patched = drawn[:, 1] < (self.mix_switch if self.mixup and self.cutmix else float(self.cutmix > 0))
        kept = torch.ones(len(images))
        if self.mixup:
            kept = torch.where(mixed & ~patched, draws.beta("mixup", self.mixup), kept)
        kept = kept.view(-1, 1, 1, 1).to(device, non_blocking=True)
        if self.cutmix:
            boxes = cutmix_boxes(draws.beta("cutmix", self.cutmix), drawn[:, 2:], size)
            kept = kept * outside(boxes * (mixed & patched)[:, None], size, device)
        return mix(images, labels, kept, num_classes, weights)

    def __call__(
        self,
        pixels: Pixels,
        labels: Targets,
        *,
        seed: int,
        number: int,
        rank: int = 0,
        world_size: int = 1,
        num_classes: int,
        image_size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        is_cropped: bool = False,
        weights: Float[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch channels {image_size[0]} {image_size[1]}"], Targets | SoftLabels]:
        """Returns images of `image_size` (height, width) and their labels: soft ones where `mixup` or
        `cutmix` is on.

        With `is_cropped` the images are crops of `image_size` already, cut and flipped as `resized_crop` and
        `flip` would have. With `weights`, a number a sample, the shares in mixed labels are multiplied by
        them, as `mix` does. Apart from mixing, a sample's view follows from `seed`, the batch's `number` and
        its place in the batch of all ranks together.
        """
        draws = Draws(seed, number, len(pixels), rank, world_size)
        view = self._stood(self._view(pixels, draws, image_size, is_cropped), draws)
        for step in range(self.num_ops):
            view = rand_augment(view, draws.uniform(f"rand_augment {step}", 2), self.magnitude)
        if self.color_jitter:
            view = self._jittered(view, draws)
        images = normalise(view, mean, std)
        if self.erasing:
            drawn = draws.uniform("erasing", 5)
            boxes = random_boxes(drawn[:, :4], ERASED_AREA, ERASED_ASPECT, image_size)
            images.mul_(outside(boxes * (drawn[:, 4:] < self.erasing), image_size, images.device))
        return self._mixed(images, labels, draws, num_classes, weights) if self.mixes else (images, labels)
