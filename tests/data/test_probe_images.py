"""The images that a run looks at again and again."""

import torch

from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.probe_images import choose_probe_images
from vitlab.data.sources.digits import Digits


def make_data(seed=0, split_seed=0, augment=None):
    fixed = {"val_fraction": 0.1, "test_fraction": 0.2, "mean": [0.3], "std": [0.38]}
    data = ImageData(
        Digits(), augment or Augment(), 8, 1, 10, 32, 0, split_seed=split_seed, seed=seed, **fixed
    )
    data.setup()
    return data


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


def test_without_validation_images_they_are_training_images_never_those_of_the_test():
    data = ImageData(Digits(), Augment(), 8, 1, 10, 32, 0, 0.0, 0.2, 0, 0, [0.3], [0.38])
    data.setup()
    probe = choose_probe_images(data, 20, 0)
    assert set(probe.indices.tolist()) <= set(data.splits["train"].indices.tolist())
