"""The images that a run looks at again and again."""

import pytest
import torch

from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.probe_images import choose_probe_images, class_balanced
from vitlab.data.sources.digits import Digits


def make_data(seed=0, split_seed=0, augment=None):
    fixed = {"val_fraction": 0.1, "test_fraction": 0.2, "mean": [0.3], "std": [0.38]}
    data = ImageData(Digits(), augment or Augment(), 8, 1, 10, 32, 0, split_seed=split_seed, seed=seed, **fixed)
    data.setup()
    return data


@pytest.mark.parametrize("count", [3, 8, 10, 25, 64])
def test_any_beginning_of_the_chosen_images_has_classes_in_equal_number(count):
    labels = torch.arange(10).repeat_interleave(torch.arange(7, 17))
    chosen = class_balanced(labels, 64, torch.Generator().manual_seed(1))[:count]
    numbers = labels[chosen].bincount(minlength=10)
    assert numbers.max() - numbers.min() <= 1
    assert len(chosen.unique()) == count


def test_a_small_class_gives_what_it_has_and_the_others_fill_up():
    labels = torch.tensor([0] * 30 + [1] * 2)
    chosen = class_balanced(labels, 20, torch.Generator().manual_seed(1))
    assert labels[chosen].bincount().tolist() == [18, 2]
    assert len(class_balanced(labels, 100, torch.Generator())) == 32


def test_the_choice_follows_from_data_and_split_and_its_seed_alone():
    one = choose_probe_images(make_data(), 64, 0)
    state = torch.get_rng_state()
    again = choose_probe_images(make_data(seed=5, augment=Augment(rotate_degrees=20.0, erasing=0.5)), 64, 0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.images, again.images) and torch.equal(one.indices, again.indices)
    assert not torch.equal(one.indices, choose_probe_images(make_data(), 64, 1).indices)
    assert not torch.equal(one.indices, choose_probe_images(make_data(split_seed=1), 64, 0).indices)


def test_they_are_validation_images_as_evaluation_sees_them():
    data = make_data()
    probe = choose_probe_images(data, 20, 0)
    assert set(probe.indices.tolist()) <= set(data.splits["val"].indices.tolist())
    samples = data.splits["val"].samples
    torch.testing.assert_close(probe.images, (samples.images[probe.indices] / 255.0 - 0.3) / 0.38)
    assert torch.equal(probe.labels, samples.labels[probe.indices])
