"""Pointing, mass and mosaics by hand; and a small model, trained on planted patches, whose maps and scores
know where these lie."""

import pytest
import torch
import torch.nn.functional as F

from vitlab.data.augment.crop import normalise
from vitlab.data.sources.planted import Planted
from vitlab.insight.explain import METHODS, explain
from vitlab.insight.honesty.faithfulness import compare
from vitlab.insight.honesty.ground_truth import mass_in_mask, mosaics, pointing_game, points_into
from vitlab.insight.honesty.likeness import similarity
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def test_pointing_and_mass_by_hand():
    heat = torch.tensor([[[0.6, 0.2], [0.1, 0.1]], [[0.1, 0.2], [0.3, 0.4]], [[0.25, 0.25], [0.25, 0.25]]])
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, :2, :3] = True  # the largest patch
    masks[1, :2] = True  # the upper two patches
    masks[2, :2] = masks[2, 2:, :1] = True  # half of the patches, and a third of another
    assert pointing_game(heat, masks) == pytest.approx((1 + 0 + 0.5) / 3)
    assert mass_in_mask(heat, masks) == pytest.approx((0.6 + 0.3 + 0.5 + 0.25 / 3) / 3)
    found = points_into(heat, masks)
    assert found.error == pytest.approx(0.5 / 3**0.5)  # of 1, 0 and a half
    assert found.chance == pytest.approx((1 / 4 + 2 / 4 + 2 / 4) / 3) and not found.beats_chance
    assert pointing_game(heat, masks[:, ::2, 2::3]) == pytest.approx((1 + 0 + 0.5) / 3)  # masks of patches


def test_two_images_that_hit_by_chance_do_not_beat_it_and_twenty_do():
    heat = torch.tensor([[[0.7, 0.1], [0.1, 0.1]]])
    upper_half = torch.tensor([[[True, True], [False, False]]])
    for count, beats in ((1, False), (2, False), (20, True)):
        found = points_into(heat.expand(count, -1, -1), upper_half.expand(count, -1, -1))
        assert found.share == 1 and found.beats_chance is beats


def test_a_mosaic_shows_its_class_in_the_masked_cell_only():
    labels = torch.arange(60) % 3
    # a picture of one brightness, which tells its class and its index
    images = (labels * 100.0 + torch.arange(60) / 100).view(-1, 1, 1, 1).expand(-1, 3, 8, 12)
    made = mosaics(images, labels)
    assert torch.equal(made.targets, labels) and made.images.shape == images.shape
    for index in range(60):
        inside = made.images[index][:, made.masks[index]]
        assert inside.shape == (3, 4 * 6) and (inside == images[index, 0, 0, 0]).all()
        elsewhere = made.images[index][:, ~made.masks[index]]
        assert ((elsewhere / 100).floor() != labels[index]).all()
        assert len(elsewhere.unique()) >= 2  # not one picture three times
    assert made.masks.float().mean(dim=0).min() > 0.1  # every cell has its turn
    assert pointing_game(torch.full((60, 2, 2), 0.25), made.masks) == pytest.approx(0.25)
    odd = points_into(
        torch.full((60, 5, 5), 1 / 25), made.masks
    )  # middle patches lie half in two quarters, the central one nowhere by half
    assert odd.share == pytest.approx(odd.chance) == pytest.approx(8 / 25)
    for index in range(60):
        rows, columns = made.quarter(index)
        assert made.masks[index][rows, columns].all() and made.masks[index].sum() == 4 * 6
    again, other = mosaics(images, labels), mosaics(images, labels, seed=1)
    assert torch.equal(again.images, made.images) and not torch.equal(other.masks, made.masks)


@pytest.mark.parametrize(
    ("size", "labels", "complaint"),
    [((7, 8), [0, 1], "7 x 8 px cannot be halved"), ((8, 8), [1, 1], "at least 2 classes")],
    ids=["odd height", "one class"],
)
def test_images_that_make_no_mosaic_are_refused(size, labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        mosaics(torch.rand(2, 1, *size), torch.tensor(labels))


@pytest.fixture(scope="module")
def trained():
    """A ViT of two blocks that reads planted patches (36 of them, four classes), with images that it never
    saw, their labels and masks."""
    source = Planted(image_size=24, patch_size=4, num_classes=4, num_images=1200, contrast=80, seed=0)
    held = source.load()["all"]
    pixels, labels = held.images, held.labels
    images = normalise(pixels, [0.5], [0.1])
    torch.manual_seed(0)
    model = VisionTransformer(
        LinearPatchEmbed(4, 1, 32), 24, 4, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2.0
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    order = torch.Generator().manual_seed(0)
    for step in range(250):
        batch = torch.randint(1000, (64,), generator=order)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 30, (250 - step) / 100)
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    unseen = slice(1000, None)
    assert (model.eval()(images[unseen]).argmax(dim=1) == labels[unseen]).float().mean() > 0.97
    return model, images[unseen], labels[unseen], source.masks()[unseen]


def test_rollout_points_at_the_planted_patch_and_deletion_ranks_the_methods_as_pointing_does(trained):
    model, images, labels, masks = trained
    maps = {method: explain(model, images, method, labels) for method in METHODS}
    pointing = {method: pointing_game(heatmaps, masks) for method, heatmaps in maps.items()}
    scores = compare(model, images, maps, labels)
    assert pointing["rollout"] >= 0.85
    assert pointing["random"] <= 0.08  # 1 of 36
    assert (
        scores["rollout"].beats_random
        and scores["input_gradient"].beats_random
        and not scores["random"].beats_random
    )
    by_deletion = torch.tensor([[[-scores[method].deletion for method in METHODS]]])
    assert similarity(by_deletion, torch.tensor([[list(pointing.values())]])).item() >= 0.7
