"""Augmentation of a batch on its device: each sample's parameters follow from the seed and its place."""

from collections.abc import Sequence

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
from vitlab.data.augment.rand_augment import rand_augment
from vitlab.data.augment.settings import Settings
from vitlab.shapes import Images, Pixels, SoftLabels, Targets

ERASED_AREA, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 3.3)
"""Share of the image and height to width of an erased box, as in Zhong et al. 2020 (arXiv:1708.04896)."""


class Augment(Settings):
    """Makes stored images into a training batch: crop and flip, affine view, RandAugment, colour jitter,
    normalise, erasing, mixing; `Settings` says how much of each. A package of one's own derives from it and
    writes `change`."""

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

    def change(self, images: Images, draws: Draws) -> Images:
        """Returns normalised training images as a subclass has changed them, before any are mixed; here as
        they are. `draws.uniform("NAME", n)` gives n numbers from 0 to 1 for each image, always the same ones
        at this place of the run."""
        return images

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
        changed = self.change(images, draws)
        if changed.shape != images.shape:
            made = f"{type(self).__name__}.change made images {list(images.shape)} into {list(changed.shape)}"
            raise ValueError(f"augment: {made}; the same shape would work")
        return self._mixed(changed, labels, draws, num_classes, weights) if self.mixes else (changed, labels)
