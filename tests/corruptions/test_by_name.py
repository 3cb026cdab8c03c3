"""The fifteen corruptions: the published arithmetic where it is plain, and an image's own draws."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from vitlab.corruptions.blur import gaussian
from vitlab.corruptions.by_name import CORRUPTIONS, SHIFTS, chosen, corrupted, shifted
from vitlab.corruptions.constants import STRENGTHS, strength


def pictures(count=3, channels=3, side=32):
    """Smooth pictures, uint8, as photographs are."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 6, 6, generator=generator)
    large = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)
    return (large * 255).byte()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_looks_the_same_in_any_batch_and_stronger_corruption_changes_more(name, channels):
    pixels, places = pictures(channels=channels), torch.tensor([4, 9, 7])
    whole = corrupted(pixels, name, 3, 0, places)
    alone = corrupted(pixels[1:2], name, 3, 0, places[1:2])
    assert whole.shape == pixels.shape and whole.dtype == torch.uint8
    assert (whole[1].int() - alone[0].int()).abs().max() <= 1  # the last bit of a product of matrices
    change = [(corrupted(pixels, name, each, 0, places).float() - pixels).abs().mean() for each in (1, 5)]
    assert change[0] > 0
    if name not in ("frost", "elastic_transform", "glass_blur"):  # whose severities trade one for another
        assert change[0] < change[1]


def test_what_is_random_differs_between_images_and_seeds():
    pixels, places = pictures(1).expand(2, -1, -1, -1), torch.tensor([0, 1])
    for name in (
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "snow",
        "fog",
        "frost",
        "elastic_transform",
    ):
        first, second = corrupted(pixels, name, 3, 0, places)
        assert not torch.equal(first, second)
        assert not torch.equal(first, corrupted(pixels, name, 3, 1, places)[0])


def test_contrast_brightness_pixels_and_jpeg_are_what_the_paper_says():
    (pixels,) = pictures(1)
    x = pixels.permute(1, 2, 0).double().numpy() / 255
    made = {
        name: corrupted(pixels[None], name, 4, 0, torch.tensor([0]))[0].permute(1, 2, 0).numpy()
        for name in ("contrast", "brightness", "pixelate", "jpeg_compression")
    }
    means = x.mean(axis=(0, 1))
    np.testing.assert_allclose(made["contrast"], np.clip((x - means) * 0.3 + means, 0, 1) * 255, atol=1.01)
    value = x.max(axis=2, keepdims=True)
    np.testing.assert_allclose(made["brightness"], x * np.minimum(value + 0.2, 1) / value * 255, atol=1.01)
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    small = picture.resize((24, 24), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    np.testing.assert_allclose(made["pixelate"], np.asarray(small), atol=1)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    np.testing.assert_allclose(made["jpeg_compression"], np.asarray(Image.open(file)), atol=1)


@pytest.mark.parametrize(
    ("edge", "scipys"), [("nearest", "nearest"), ("reflect", "reflect"), ("mirror", "mirror")]
)
def test_the_gaussian_is_scipys(edge, scipys):
    image = torch.rand(20, 13)
    expected = gaussian_filter(image.numpy(), 2.5, mode=scipys, truncate=3.0)
    np.testing.assert_allclose(gaussian(image, 2.5, 3.0, edge), expected, atol=1e-5)


def test_noise_is_as_strong_as_published():
    grey = torch.full((1, 3, 128, 128), 128, dtype=torch.uint8)
    noisy = corrupted(grey, "gaussian_noise", 2, 0, torch.tensor([0])).double() / 255
    assert noisy.std() == pytest.approx(0.12, rel=0.05)
    shot = corrupted(grey, "shot_noise", 1, 0, torch.tensor([0])).double() / 255
    assert shot.std() == pytest.approx((0.502 / 60) ** 0.5, rel=0.05)
    salted = corrupted(grey, "impulse_noise", 5, 0, torch.tensor([0]))
    assert (salted == 255).double().mean() == pytest.approx(0.135, rel=0.1)
    assert (salted == 0).double().mean() == pytest.approx(0.135, rel=0.1)


def test_strengths_follow_the_size_and_names_are_checked():
    assert set(STRENGTHS) == set(CORRUPTIONS) and len(CORRUPTIONS) == 15
    assert all(len(each) == 5 for by_size in STRENGTHS.values() for each in by_size.values())
    assert [strength("pixelate", 5, side) for side in (32, 48, 224)] == [0.65, 0.5, 0.25]
    assert chosen("all") == list(CORRUPTIONS) and chosen("fog,snow,fog") == ["fog", "snow"]
    with pytest.raises(ValueError, match="corruptions=rain is none; known: all, gaussian_noise"):
        chosen(["rain"])


@pytest.mark.parametrize("name", SHIFTS)
def test_a_stronger_shift_loses_more_and_the_least_little(name):
    pixels = pictures(side=64)
    change = [
        float((shifted(pixels, name, amount).float() - pixels).abs().mean()) for amount in SHIFTS[name][1]
    ]
    assert change == sorted(change) and change[0] < 3
