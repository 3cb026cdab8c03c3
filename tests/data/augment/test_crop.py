from collections.abc import Callable

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from vitlab.data.augment.crop import centre_view, crops_by_copy, crops_by_gather, normalise, random_crop_flip


@pytest.mark.parametrize(
    ("stored", "size", "padding"),
    [
        ((3, 32, 32), (32, 32), 4),
        ((3, 24, 17), (16, 11), 3),
        ((1, 12, 14), (12, 14), 0),
        ((3, 9, 10), (11, 12), 2),
        ((3, 8, 8), (8, 8), 7),
    ],
)
@pytest.mark.parametrize("kernel", [crops_by_copy, crops_by_gather])
def test_crops_equal_torchvisions_pad_crop_and_flip_of_each_sample(
    stored: tuple, size: tuple, padding: int, kernel: Callable
):
    generator = torch.Generator().manual_seed(0)
    spare = [side + 2 * padding - part for side, part in zip(stored[1:], size, strict=True)]
    # every corner first, then places at random
    top = torch.cat(
        [
            torch.tensor([0, 0, spare[0], spare[0]] * 2),
            torch.randint(spare[0] + 1, (40,), generator=generator),
        ]
    )
    left = torch.cat(
        [torch.tensor([0, spare[1]] * 4), torch.randint(spare[1] + 1, (40,), generator=generator)]
    )
    flip = torch.arange(48) % 8 < 4
    pixels = torch.randint(0, 256, (48, *stored), generator=generator, dtype=torch.uint8)

    crops = kernel(pixels, top, left, flip, size, padding)

    for image, crop, row, column, mirrored in zip(
        pixels, crops, top.tolist(), left.tolist(), flip.tolist(), strict=True
    ):
        # torchvision reflects only numbers with a fraction; whole numbers up to 255 survive that unchanged
        padded = reference.pad(image.float(), [padding], padding_mode="reflect")
        expected = reference.crop(padded, row, column, *size)
        assert torch.equal(crop.float(), reference.horizontal_flip(expected) if mirrored else expected)


@pytest.mark.parametrize("kernel", [crops_by_copy, crops_by_gather])
def test_crops_do_not_depend_on_how_the_batch_lies_in_memory(kernel: Callable):
    pixels = torch.randint(0, 256, (6, 20, 18, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    place = (torch.arange(6), torch.arange(6), torch.arange(6) % 2 == 0, (16, 14), 2)
    assert torch.equal(kernel(pixels, *place), random_crop_flip(pixels.contiguous(), *place))


def test_larger_images_are_cut_in_the_centre():
    pixels = torch.randint(0, 256, (3, 3, 40, 36), dtype=torch.uint8)
    assert torch.equal(centre_view(pixels, (32, 30)), reference.center_crop(pixels, [32, 30]))


def test_smaller_images_are_enlarged_by_torchvisions_bicubic_resize():
    pixels = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    expected = reference.resize(
        pixels.float(), [20, 20], interpolation=reference.InterpolationMode.BICUBIC, antialias=True
    )
    assert torch.equal(centre_view(pixels, (20, 20)), expected.round().clamp(0, 255).to(torch.uint8))


def test_a_view_of_another_shape_keeps_the_proportions_of_what_it_shows():
    pixels = torch.zeros(1, 1, 20, 40, dtype=torch.uint8)
    pixels[..., 10:30] = 255  # the centred square
    assert centre_view(pixels, (60, 60)).min() == 255


def test_normalised_images_equal_torchvisions():
    pixels = torch.randint(0, 256, (5, 3, 7, 9), dtype=torch.uint8)
    mean, std = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
    expected = reference.normalize(reference.to_dtype(pixels, torch.float32, scale=True), mean, std)
    torch.testing.assert_close(normalise(pixels, mean, std), expected, rtol=0, atol=1e-6)
