"""The planted images hold what their masks say, nothing else tells the class, and the same arguments give the
same bytes."""

import numpy as np
import pytest
import torch

from vitlab.data.sources.planted import Planted


def planted(image_size=32, patch_size=4, num_classes=8, num_images=400, contrast=60, seed=0):
    return Planted(image_size, patch_size, num_classes, num_images, contrast, seed)


def patches_of(source):
    """Pixels of each patch, [images, rows, columns, patch pixels], as differences to their mean."""
    images = source.load()["all"].images[:, 0].float()
    side = source.patch_size
    patches = images.unfold(1, side, side).unfold(2, side, side).flatten(3)
    return patches - patches.mean(dim=-1, keepdim=True)


@pytest.mark.parametrize("options", [{}, {"image_size": 35, "patch_size": 5}], ids=["4 px", "5 px"])
def test_a_pattern_learnt_from_masked_patches_is_found_where_the_mask_says_in_other_images(options):
    source = planted(**options)
    labels, masks, patches = source.load()["all"].labels, source.masks(), patches_of(source)
    assert (masks.flatten(1).sum(dim=1) == 1).all()
    shown = patches[masks]  # in the order of images
    patterns = torch.stack([shown[:200][labels[:200] == label].mean(dim=0) for label in range(8)])
    response = torch.einsum("irck,ik->irc", patches[200:], patterns[labels[200:]])
    found = response.flatten(1).argmax(dim=1) == masks[200:].flatten(1).int().argmax(dim=1)
    assert found.float().mean() > 0.9
    assert ((shown[200:] @ patterns.T).argmax(dim=1) == labels[200:]).float().mean() > 0.9


def test_classes_are_equally_many_lie_everywhere_and_differ_in_nothing_but_the_pattern():
    source = planted(num_images=4000)
    held = source.load()["all"]
    images, labels = held.images, held.labels
    masks = source.masks()
    assert labels.bincount().tolist() == [500] * 8
    assert masks.sum(dim=0).min() > 30  # 62.5 expected
    brightness = torch.stack([images[labels == label].float().mean() for label in range(8)])
    error = images.float().mean(dim=(1, 2, 3)).std() / 500**0.5
    assert (brightness - brightness.mean()).abs().max() < 4 * error
    one, other = (masks[labels == label].float().mean(dim=0).flatten() for label in (0, 1))
    assert np.abs(np.corrcoef(one, other)[0, 1]) < 0.4  # the place does not tell the class


def test_the_arguments_alone_decide_on_the_bytes():
    one, again, other = planted(), planted(), planted(seed=1)
    prints = [source.fingerprint(source.load()) for source in (one, again, other)]
    assert prints[0] == prints[1] == "808b02aca1fb8aef3334e90e2a318a54" != prints[2]
    assert torch.equal(one.masks(), again.masks()) and not torch.equal(one.masks(), other.masks())


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"patch_size": 5}, r"4, 8, 16, 32\]"),
        ({"patch_size": 2}, "4 px or more"),
        ({"contrast": 0}, "1 to 127"),
        ({"contrast": 200}, "1 to 127"),
    ],
    ids=["patch that does not divide", "patch too small", "no contrast", "beyond white"],
)
def test_a_set_that_cannot_be_made_says_what_would_work(changed, complaint):
    with pytest.raises(ValueError, match=complaint):
        planted(**changed)
