"""Order and splits as functions of the seed: nobody twice, nobody missing, whatever the number of devices."""

import pytest
import torch

from vitlab.data.sampler import EpochOrder, OnceEach, sampling_weights
from vitlab.data.samples import HeldImages
from vitlab.data.splits import make_splits


def epoch(order, number=0):
    order.set_epoch(number)
    return list(order)


def test_an_epoch_visits_no_sample_twice_and_epochs_differ():
    order = EpochOrder(103, batch_size=10, seed=7)
    first, second = (torch.cat([indices for _, indices in epoch(order, n)]) for n in (0, 1))
    assert len(first) == 100 == len(set(first.tolist()))
    assert set(first.tolist()) <= set(range(103))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat([indices for _, indices in epoch(EpochOrder(103, 10, 7), 0)]))
    assert not torch.equal(first, torch.cat([indices for _, indices in epoch(EpochOrder(103, 10, 8), 0)]))


def test_batch_numbers_go_on_across_epochs():
    order = EpochOrder(30, batch_size=10, seed=0)
    assert [number for n in range(3) for number, _ in epoch(order, n)] == list(range(9))


def test_two_devices_share_exactly_the_batches_of_one():
    alone = epoch(EpochOrder(40, batch_size=8, seed=3))
    shares = [epoch(EpochOrder(40, batch_size=4, seed=3, rank=rank, world_size=2)) for rank in (0, 1)]
    for (number, whole), (first_number, first), (second_number, second) in zip(alone, *shares, strict=True):
        assert number == first_number == second_number
        assert torch.equal(whole, torch.cat([first, second]))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_counts_each_sample_once_over_all_devices(world_size):
    seen = [
        indices
        for rank in range(world_size)
        for _, indices in OnceEach(torch.arange(31), 4, rank, world_size)
    ]
    assert sorted(torch.cat(seen).tolist()) == list(range(31))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(
        ValueError,
        match=r"data.batch_size=64 x 2 device\(s\) does not fit 100 training images; 1 to 50 would work",
    ):
        EpochOrder(100, 64, seed=0, world_size=2)


def labelled(*counts):
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return HeldImages(torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1), labels)


def test_splits_keep_each_classs_share_and_leave_no_sample_out():
    splits = make_splits({"all": labelled(100, 50, 20)}, val_fraction=0.1, test_fraction=0.2, seed=0)
    assert splits["test"].labels.bincount().tolist() == [20, 10, 4]
    assert splits["val"].labels.bincount().tolist() == [8, 4, 2]
    everyone = torch.cat([split.indices for split in splits.values()])
    assert sorted(everyone.tolist()) == list(range(170))


def test_splits_follow_from_their_seed():
    def indices(seed):
        return make_splits({"all": labelled(40, 40)}, 0.1, 0.2, seed)["test"].fingerprint()

    assert indices(0) == indices(0) != indices(1)


def test_a_sources_own_test_set_is_kept_and_only_validation_is_cut():
    parts = {"train": labelled(50, 50), "test": labelled(5, 7)}
    splits = make_splits(parts, val_fraction=0.1, test_fraction=0.5, seed=0)
    assert splits["test"].labels.bincount().tolist() == [5, 7]
    assert (len(splits["train"]), len(splits["val"])) == (90, 10)


def test_a_class_with_one_image_cannot_be_split():
    with pytest.raises(ValueError, match=r"data.test_fraction=0.2: class 1 has 1 image\(s\)"):
        make_splits({"all": labelled(10, 1)}, 0.1, 0.2, 0)


def test_a_class_with_one_training_image_is_trained_on_where_the_folders_that_the_refusal_names_are_there():
    parts = {"train": labelled(10, 1), "test": labelled(2, 2)}
    with pytest.raises(
        ValueError,
        match=(
            r"class 1 has 1 image\(s\) left to split, .* more images would work, or a val/ folder beside"
            r" train/"
        ),
    ):
        make_splits(parts, 0.1, 0.2, 0)
    assert make_splits(parts | {"val": labelled(2, 2)}, 0.1, 0.2, 0)["train"].labels.bincount().tolist() == [
        10,
        1,
    ]


@pytest.mark.parametrize("fraction", [1.0, -0.5, float("nan")])
def test_a_fraction_that_is_no_share_is_refused(fraction):
    with pytest.raises(ValueError, match=r"data.val_fraction=.* is no share"):
        make_splits({"all": labelled(10, 10)}, fraction, 0.2, 0)


@pytest.mark.parametrize(("sampling", "shares"), [("balanced", [0.5, 0.5]), ("sqrt", [0.75, 0.25])])
def test_a_sampling_draws_classes_by_their_share_and_an_epoch_keeps_its_length(sampling, shares):
    labels = torch.tensor([0] * 9000 + [1] * 1000)
    order = EpochOrder(10_000, 100, 0, weights=sampling_weights(labels, sampling))
    drawn = torch.cat([indices for _, indices in order])
    assert len(drawn) == 10_000
    share = (labels[drawn].bincount() / len(drawn)).tolist()
    assert share == pytest.approx(shares, abs=0.02)


def test_a_balanced_order_goes_on_in_the_middle_of_an_epoch_and_over_two_processes():
    weights = sampling_weights(torch.tensor([0] * 90 + [1] * 10), "balanced")
    whole = list(EpochOrder(100, 10, 3, weights=weights))
    late = EpochOrder(100, 10, 3, weights=weights)
    late.start_at(0, 4)
    assert all(torch.equal(one[1], other[1]) for one, other in zip(whole[4:], late, strict=True))
    shared = [list(EpochOrder(100, 5, 3, rank, 2, weights)) for rank in (0, 1)]
    for (_, all_rows), (_, first), (_, second) in zip(whole, *shared, strict=True):
        assert torch.equal(all_rows, torch.cat([first, second]))
