"""Augmentation on the device makes the images that the processor makes of the same draws."""

import pytest
import torch

from vitlab.data.augment.policy import Augment

POLICIES = {
    "crop and flip": {"crop_padding": 4, "flip": 0.5},
    "resized crop": {"resized_crop": (0.3, 1.0), "flip": 0.5},
    "affine": {"rotate_degrees": 15.0, "shear_degrees": 10.0, "scale": 0.2, "translate": 0.1},
    "RandAugment": {"num_ops": 2, "magnitude": 9},
    "colour": {"color_jitter": 0.4},
    "erasing": {"erasing": 0.5},
    "MixUp and CutMix": {"mixup": 0.8, "cutmix": 1.0},
    "strong": {"crop_padding": 4, "flip": 0.5, "num_ops": 2, "erasing": 0.25, "mixup": 0.8, "cutmix": 1.0},
}
EXACT = ("crop and flip", "erasing")


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("policy", POLICIES)
def test_augmentation_is_the_processors(device, note, policy, size):
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(
        256, 3, 9, 9, generator=generator
    )  # pictures with edges, but not noise, which no interpolation survives
    pixels = (torch.nn.functional.interpolate(smooth, (48, 48), mode="bilinear") * 255).to(torch.uint8)
    labels = torch.arange(256) % 10
    place = {
        "seed": 5,
        "number": 17,
        "num_classes": 10,
        "image_size": (size, size),
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    }
    augment = Augment(**POLICIES[policy])
    images, soft = augment(pixels, labels, **place)
    near, near_soft = augment(pixels.to(device), labels.to(device), **place)
    assert near.device.type == device
    difference = 255 * (near.cpu() - images).abs()
    note("largest difference in levels", float(difference.max()))
    note("share of pixels that differ by more than half a level", float((difference > 0.5).float().mean()))
    if policy in EXACT:
        assert float(difference.max()) < 1e-3
    assert float((difference > 1.01).float().mean()) <= 1e-3
    if soft.is_floating_point():
        assert float((near_soft.cpu() - soft).abs().max()) <= 1e-5
