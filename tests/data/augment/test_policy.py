import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from vitlab.data.augment.mixing import unweighted
from vitlab.data.augment.policy import Augment
from vitlab.data.augment.rand_augment import rand_augment

UNMIXED = {
    "flip": 0.5,
    "num_ops": 2,
    "color_jitter": 0.4,
    "erasing": 0.5,
    "rotate_degrees": 20.0,
    "scale": 0.2,
    "translate": 0.1,
}
ALL = UNMIXED | {"crop_padding": 3, "shear_degrees": 10.0, "mixup": 0.8, "cutmix": 1.0}


def view(
    augment: Augment, pixels: torch.Tensor, labels: torch.Tensor | None = None, **changes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augments at one fixed place in a run, with images left on the scale from 0 to 1."""
    labels = torch.zeros(len(pixels), dtype=torch.long) if labels is None else labels
    place = {
        "seed": 5,
        "number": 17,
        "num_classes": 10,
        "image_size": tuple(pixels.shape[2:]),
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    }
    return augment(pixels, labels, **(place | changes))


def levels(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)


def noise(number: int, size: int = 16) -> torch.Tensor:
    return torch.randint(
        0, 256, (number, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


def plain(number: int, labels: torch.Tensor, size: int = 16) -> torch.Tensor:
    """Images of one level each, 25 times their label."""
    return (25 * labels).to(torch.uint8).view(-1, 1, 1, 1).expand(number, 3, size, size)


def test_a_batch_follows_from_its_place_in_the_run_and_nothing_else():
    pixels, labels = noise(32), torch.arange(32) % 10
    images, soft = view(Augment(**ALL), pixels, labels)
    torch.manual_seed(99)
    again, soft_again = view(Augment(**ALL), pixels, labels)
    assert torch.equal(images, again) and torch.equal(soft, soft_again)
    for elsewhere in ({"seed": 6}, {"number": 18}):
        other, other_soft = view(Augment(**ALL), pixels, labels, **elsewhere)
        assert not any(torch.equal(a, b) for a, b in zip(images, other, strict=True))
        assert not torch.equal(soft, other_soft)


@pytest.mark.parametrize("crop", [{"crop_padding": 3}, {"resized_crop": (0.3, 1.0)}])
def test_two_devices_make_the_images_that_one_makes(crop: dict):
    pixels, augment = noise(32), Augment(**UNMIXED, **crop)
    whole, _ = view(augment, pixels)
    halves = [
        view(augment, pixels[16 * rank : 16 * rank + 16], rank=rank, world_size=2)[0] for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), whole)


def test_two_devices_mix_by_different_shares():
    labels = torch.arange(32) % 10
    pairs = [view(Augment(mixup=1.0), noise(16), labels[:16], rank=rank, world_size=2)[1] for rank in (0, 1)]
    assert (pairs[0] - pairs[1]).abs().amax(1).min() > 0


def test_generators_of_others_stay_as_they_were():
    before, numpys = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    view(Augment(**ALL), noise(8))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002


@pytest.mark.parametrize(
    "stage",
    [
        {"rotate_degrees": 30.0},
        {"shear_degrees": 20.0},
        {"scale": 0.3},
        {"translate": 0.3},
        {"resized_crop": (0.2, 1.0)},
        {"color_jitter": 0.8},
        {"mixup": 1.0},
    ],
    ids=lambda stage: next(iter(stage)),
)
def test_the_samples_of_a_batch_get_parameters_of_their_own(stage: dict):
    pixels = noise(1).repeat(64, 1, 1, 1)
    if "mixup" in stage:  # alike they would mix to themselves
        pixels[::2] = 255 - pixels[::2]
    images, _ = view(Augment(**stage), pixels)
    assert len(images.flatten(1).unique(dim=0)) >= 62


def test_crops_begin_everywhere_equally_often_and_flip_at_the_rate_asked_for():
    size, padding, number = 12, 2, 10_000
    # Unlike levels for the four inner pixels tell the place and the flip of a crop.
    pixels = torch.zeros(number, 1, size, size, dtype=torch.uint8)
    pixels[:, 0, 5:7, 5:7] = torch.tensor([[10, 20], [30, 40]], dtype=torch.uint8)
    images, _ = view(Augment(crop_padding=padding, flip=0.3), pixels, mean=[0.0], std=[1.0])
    crops = levels(images)[:, 0]
    at = (crops == 10).flatten(1).int().argmax(1)
    row, column = at // size, at % size
    flipped = crops[torch.arange(number), row, column - 1] == 20
    column = torch.where(flipped, size - 1 - column, column)
    counts = torch.bincount((row - 3) * 5 + column - 3, minlength=25)
    assert counts.sum() == number and len(counts) == 25
    assert (counts - 400).abs().max() < 5 * 20  # standard deviation 20
    assert abs(flipped.float().mean() - 0.3) < 5 * 0.0046


def test_resized_crops_show_the_share_of_the_area_asked_for():
    ramp = torch.arange(128).expand(128, 128)
    pixels = torch.stack([ramp, ramp.T, ramp]).to(torch.uint8).expand(2000, 3, 128, 128)
    images, _ = view(Augment(resized_crop=(0.25, 0.5), flip=0.5), pixels, image_size=(32, 32))
    shown = 255 * images
    width, height = (
        (shown[:, 0, 16, 30] - shown[:, 0, 16, 1]) * 32 / 29,
        (shown[:, 1, 30, 16] - shown[:, 1, 1, 16]) * 32 / 29,
    )
    share = width.abs() * height / 128**2
    assert share.min() > 0.23 and share.max() < 0.53  # whole levels blur it a little
    assert abs(share.mean() - 0.375) < 0.01
    assert abs((width < 0).float().mean() - 0.5) < 5 * 0.0112


@pytest.mark.parametrize("crop", [{"crop_padding": 1}, {"resized_crop": (0.5, 1.0)}, {"flip": 0.5}])
@pytest.mark.parametrize("size", [(20, 20), (5, 7)])
def test_views_of_another_size_show_nothing_but_the_image(crop: dict, size: tuple):
    pixels = torch.full((16, 3, 8, 9), 200, dtype=torch.uint8)
    images, _ = view(Augment(**crop), pixels, image_size=size)
    assert images.shape == (16, 3, *size)
    assert levels(images).unique().tolist() == [200]


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_rand_augment_makes_what_torchvision_makes_and_each_as_often(magnitude: int):
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 230
    image = interpolate(coarse, (26, 30), mode="bicubic").clamp(0, 255).round().to(torch.uint8)
    theirs = v2.RandAugment(num_ops=1, magnitude=magnitude, interpolation=v2.InterpolationMode.BILINEAR)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        possible = torch.stack([theirs(image[0]) for _ in range(500)]).unique(dim=0)
    draws = torch.rand(6000, 2, generator=torch.Generator().manual_seed(2))

    made, counts = rand_augment(image.expand(6000, -1, -1, -1), draws, magnitude).unique(
        dim=0, return_counts=True
    )

    # one level apart: rounding of a value in the middle of two
    alike = (made[:, None].int() - possible.int()).abs().flatten(2).amax(2) <= 1
    assert alike.any(0).all() and alike.any(1).all()
    # 14 operations, each a 14th; those with a direction half of it each way
    assert counts.min() > 6000 / 28 - 5 * 15
    assert magnitude == 0 or counts.max() < 6000 / 28 * 4


def test_a_second_operation_does_not_follow_from_the_first():
    pixels = noise(2000)
    once, twice = (levels(view(Augment(num_ops=n), pixels)[0]) for n in (1, 2))
    untouched = (once == pixels).flatten(1).all(1)
    assert 0.04 < untouched.float().mean() < 0.25  # identity, and what changes nothing on noise
    assert (once[untouched] != twice[untouched]).flatten(1).any(1).float().mean() > 0.7


def test_erased_boxes_have_the_area_asked_for_and_the_mean_colour():
    pixels = torch.full((4000, 3, 32, 32), 200, dtype=torch.uint8)
    images, _ = view(Augment(erasing=0.25), pixels, mean=[0.5] * 3, std=[0.2] * 3)
    erased = images == 0
    share = erased[:, 0].float().mean((1, 2))
    assert torch.equal(erased[:, 0], erased[:, 2]) and images[~erased].unique().numel() == 1
    assert abs((share > 0).float().mean() - 0.25) < 5 * 0.0069
    share = share[share > 0]
    assert abs(share.mean() - (0.02 + 1 / 3) / 2) < 5 * 0.003  # uniform over 0.02 to 1/3, about 1,000 of them
    assert share.min() > 0.01 and share.max() < 0.38
    # what is erased is one rectangle
    rows, columns = erased[:, 0].any(2).sum(1), erased[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, erased[:, 0].sum((1, 2)))


@pytest.mark.parametrize(
    "mixing",
    [
        {"mixup": 0.8},
        {"cutmix": 1.0},
        {"mixup": 0.8, "cutmix": 1.0},
        {"mixup": 0.5, "cutmix": 0.5, "mix_prob": 0.5},
    ],
)
def test_labels_have_the_share_of_the_pixels(mixing: dict):
    labels = torch.arange(200) * 7 % 10
    images, soft = view(Augment(**mixing), plain(200, labels), labels)
    assert images.dtype == soft.dtype == torch.float32
    torch.testing.assert_close(soft.sum(1), torch.ones(200))
    torch.testing.assert_close(
        255 * images.mean((1, 2, 3)), soft @ (25.0 * torch.arange(10)), rtol=0, atol=2e-4
    )
    assert (soft > 0).sum(1).max() == 2
    # every sample keeps its own class and takes from the one before
    assert torch.equal(
        (soft.scatter(1, labels[:, None], 0).scatter(1, labels.roll(1)[:, None], 0) > 0).sum(),
        torch.tensor(0),
    )


def test_a_mixed_image_counts_as_both_of_its_samples_would_by_their_weights():
    labels, weights = torch.arange(60) * 7 % 10, torch.arange(60.0) % 4
    logits = torch.randn(60, 10, generator=torch.Generator().manual_seed(0))
    mixing = Augment(mixup=0.8, cutmix=1.0, mix_prob=0.7)
    _, shares = view(mixing, noise(60), labels)
    soft, counts = unweighted(view(mixing, noise(60), labels, weights=weights)[1])
    own = shares.gather(1, labels[:, None])[:, 0]
    of_own, of_other = (F.cross_entropy(logits, each, reduction="none") for each in (labels, labels.roll(1)))
    by_hand = own * weights * of_own + (1 - own) * weights.roll(1) * of_other
    torch.testing.assert_close(counts * F.cross_entropy(logits, soft, reduction="none"), by_hand)
    torch.testing.assert_close(soft.sum(1), torch.ones(60))


def test_shares_follow_the_beta_distribution_asked_for():
    labels = torch.arange(20_000) % 10
    pixels = torch.zeros(20_000, 3, 4, 4, dtype=torch.uint8)
    for alpha in (0.2, 0.8, 2.0):
        _, soft = view(Augment(mixup=alpha), pixels, labels)
        share = soft.gather(1, labels[:, None])
        assert abs(share.mean() - 0.5) < 0.02
        assert abs(share.var() - 0.25 / (2 * alpha + 1)) < 0.005  # variance of Beta(alpha, alpha)


def test_mix_prob_and_mix_switch_are_rates_over_samples():
    labels = torch.arange(4000) % 10
    images, soft = view(
        Augment(mixup=1.0, cutmix=1.0, mix_prob=0.6, mix_switch=0.3), plain(4000, labels, 32), labels
    )
    mixed = soft.amax(1) < 1
    by_cutmix = mixed & (images.flatten(1).std(1) > 1e-3)
    assert abs(mixed.float().mean() - 0.6) < 0.04  # a CutMix box of no pixel mixes nothing
    assert abs(by_cutmix[mixed].float().mean() - 0.3) < 0.05


def test_a_stage_switched_on_leaves_the_draws_of_the_others():
    pixels = noise(64)
    without, _ = view(Augment(crop_padding=2, flip=0.5), pixels)
    erased, _ = view(Augment(crop_padding=2, flip=0.5, erasing=1.0), pixels)
    kept = erased != 0
    assert torch.equal(erased[kept], without[kept]) and kept.float().mean() > 0.6


def test_labels_stay_as_they_are_without_mixing():
    labels = torch.arange(8)
    assert torch.equal(view(Augment(**UNMIXED), noise(8), labels)[1], labels)


@pytest.mark.parametrize("crop", [{"crop_padding": 3}, {"resized_crop": (0.3, 1.0)}])
def test_nothing_is_read_back_from_the_device(crop: dict):
    # A meta tensor has a device and a shape but no content: to look at one, or to mix it with a tensor of the
    # CPU, is an error.
    pixels, labels = noise(16).to("meta"), torch.zeros(16, dtype=torch.long, device="meta")
    for stages in (ALL | {"crop_padding": 0} | crop, crop):
        images, _ = view(Augment(**stages), pixels, labels)
        assert images.device.type == "meta"


def test_images_of_one_channel_pass_every_stage():
    images, _ = view(Augment(**ALL), noise(8)[:, :1], mean=[0.0], std=[1.0])
    assert images.shape == (8, 1, 16, 16) and images.isfinite().all()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crop_padding", -1),
        ("flip", 1.5),
        ("flip", "often"),
        ("rotate_degrees", 181.0),
        ("shear_degrees", 90.0),
        ("scale", 1.0),
        ("translate", -0.1),
        ("num_ops", -2),
        ("magnitude", 31),
        ("color_jitter", 1.1),
        ("erasing", float("nan")),
        ("mixup", -0.1),
        ("cutmix", -1.0),
        ("mix_prob", 2.0),
        ("mix_switch", -0.5),
        ("resized_crop", (0.8, 0.2)),
        ("resized_crop", (0.0, 1.0)),
    ],
)
def test_a_value_out_of_range_is_named_with_what_would_work(key: str, value: object):
    # beartype would be first to complain of a word; a run has no beartype
    construct = getattr(Augment.__init__, "__wrapped__", Augment.__init__)
    with pytest.raises(ValueError, match=re.escape(f"augment.{key}={value}") + ".* must be .*"):
        construct(object.__new__(Augment), **{key: value})


def test_padding_and_resized_crops_exclude_each_other():
    with pytest.raises(ValueError, match=r"augment\.resized_crop.*augment\.crop_padding=4"):
        Augment(crop_padding=4, resized_crop=(0.5, 1.0))


def test_padding_as_wide_as_the_image_is_refused():
    with pytest.raises(ValueError, match=r"augment\.crop_padding=16 .* 16"):
        view(Augment(crop_padding=16), noise(2))


def test_flips_and_quarter_turns_stand_each_image_as_it_is_drawn_in_the_stated_shares():
    pixels = noise(1, 6).expand(4000, 3, 6, 6)
    poses = {(flip, turn): pixels[0].rot90(turn, (1, 2)) for flip in (0,) for turn in range(4)}
    poses |= {(1, turn): pixels[0].flip(1).rot90(turn, (1, 2)) for turn in range(4)}
    seen = levels(view(Augment(vertical_flip=0.3, quarter_turns=0.6), pixels)[0])
    shares = {pose: float((seen == image).all(dim=(1, 2, 3)).float().mean()) for pose, image in poses.items()}
    assert sum(shares.values()) == pytest.approx(1.0)
    for (flip, turn), share in shares.items():
        expected = (0.3 if flip else 0.7) * (0.2 if turn else 0.4)
        assert share == pytest.approx(expected, abs=0.03), (flip, turn)


def test_standing_otherwise_leaves_every_other_draw_as_it_was():
    crop = {"crop_padding": 3, "flip": 0.5}
    straight, turned = (
        levels(view(Augment(**crop, **more), noise(64))[0]) for more in ({}, {"quarter_turns": 1.0})
    )
    counts = [int((turned == straight.rot90(turn, (2, 3))).all(dim=(1, 2, 3)).sum()) for turn in range(4)]
    assert counts[0] == 0 and sum(counts) == 64 and min(counts[1:]) > 5


@pytest.mark.parametrize(
    "stages, size, channels, says",
    [
        (
            {"quarter_turns": 0.5},
            (8, 16),
            3,
            "augment.quarter_turns=0.5 turns squares, and data.image_size is 8 x 16",
        ),
        (
            {"color_jitter": 0.4},
            (8, 8),
            5,
            "augment.color_jitter=0.4 changes colours, and data.in_channels=5",
        ),
        ({"num_ops": 2}, (8, 8), 2, "augment.num_ops=2 changes colours, and data.in_channels=2"),
    ],
)
def test_what_images_cannot_undergo_is_refused_with_what_would_work(stages, size, channels, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        Augment(**stages).check_images(size, channels)
    Augment(**stages).check_images((8, 8), 3)


def test_bands_are_cropped_flipped_erased_and_mixed_like_colours():
    pixels = noise(16)[:, [0, 1, 2, 1, 0]]
    stages = {key: value for key, value in ALL.items() if key not in ("num_ops", "color_jitter")}
    five, _ = view(Augment(**stages), pixels, mean=[0.0] * 5, std=[1.0] * 5)
    three, _ = view(Augment(**stages), noise(16))
    assert torch.equal(five, three[:, [0, 1, 2, 1, 0]])
