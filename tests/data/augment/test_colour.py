import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from vitlab.data.augment import colour


def varied_images(channels: int) -> torch.Tensor:
    """Noise, narrow ranges, one level only, two levels, and ramps: where equalize and autocontrast have
    special cases."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (12, channels, 40, 36), generator=generator, dtype=torch.uint8)
    noise[4:6] = noise[4:6] // 5 + 90
    noise[6] = 77
    noise[7] = noise[7] // 128 * 255
    noise[8:] = torch.arange(40 * 36).view(40, 36).div(5.7).to(torch.uint8)
    noise[9, 0] = 13
    return noise


FACTORS = torch.tensor([0.0, 0.1, 0.37, 0.5, 0.73, 0.91, 1.0, 1.09, 1.27, 1.5, 1.9, 2.0])

BY_FACTOR = {
    "brightness": (
        lambda images, factor: colour.apply_tables(images, colour.brightness(factor)),
        reference.adjust_brightness,
    ),
    "contrast": (
        lambda images, factor: colour.apply_tables(images, colour.contrast(images, factor)),
        reference.adjust_contrast,
    ),
    "saturation": (colour.saturation, reference.adjust_saturation),
    "sharpness": (colour.sharpness, reference.adjust_sharpness),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BY_FACTOR)
def test_changes_by_a_factor_equal_torchvisions_on_each_sample(name: str, channels: int):
    ours, theirs = BY_FACTOR[name]
    for turn in range(12):
        images, factors = varied_images(channels), FACTORS.roll(turn)
        expected = torch.stack(
            [theirs(image, factor) for image, factor in zip(images, factors.tolist(), strict=True)]
        )
        assert torch.equal(ours(images, factors), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_changes_by_the_images_own_levels_equal_torchvisions_on_each_sample(name: str, channels: int):
    images = varied_images(channels)
    expected = torch.stack([getattr(reference, name)(image) for image in images])
    assert torch.equal(colour.apply_tables(images, getattr(colour, name)(images)), expected)


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_equals_torchvisions(bits: int):
    images = varied_images(3)
    table = colour.posterize(bits, images.device).expand(len(images), 1, 256)
    assert torch.equal(colour.apply_tables(images, table), reference.posterize(images, bits))


@pytest.mark.parametrize("threshold", [0.0, 1.0, 99.5, 178.5, 255.0])
def test_solarize_equals_torchvisions(threshold: float):
    images = varied_images(3)
    table = colour.solarize(threshold, images.device).expand(len(images), 1, 256)
    assert torch.equal(colour.apply_tables(images, table), reference.solarize(images, threshold))


def test_images_too_small_for_a_neighbourhood_are_not_sharpened():
    images = torch.randint(0, 256, (4, 3, 2, 9), dtype=torch.uint8)
    assert torch.equal(colour.sharpness(images, torch.full((4,), 1.9)), images)
