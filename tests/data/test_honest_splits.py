"""Copies, groups and folds: what belongs together lies on one side, and every class on each side by its
share."""

import pytest
import torch

from vitlab.data.copies import describe_copies
from vitlab.data.samples import HeldImages
from vitlab.data.sources.digits import Digits
from vitlab.data.splits import describe_absent, make_splits
from vitlab.data.units import describe_units, units_of


def samples_of(labels, files=None, groups=None):
    made = HeldImages(torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), torch.as_tensor(labels))
    made.files, made.groups = (None if kind is None else torch.as_tensor(kind) for kind in (files, groups))
    return made


def counted(*counts):
    return torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])


def patients(seed, number=60, num_classes=3):
    """Patients with 1 to 30 images, each of one class mostly."""
    generator = torch.Generator().manual_seed(seed)
    labels, groups = [], []
    for patient in range(number):
        usual = int(torch.randint(num_classes, (1,), generator=generator))
        for _ in range(int(torch.randint(1, 31, (1,), generator=generator))):
            other = torch.rand(1, generator=generator) < 0.1
            labels.append(int(torch.randint(num_classes, (1,), generator=generator)) if other else usual)
            groups.append(1000 - patient)
    return samples_of(labels, groups=groups)


def members(splits, kind="groups"):
    return {name: set(getattr(split.samples, kind)[split.indices].tolist()) for name, split in splits.items()}


def is_everyone_once(splits, number):
    return sorted(torch.cat([split.indices for split in splits.values()]).tolist()) == list(range(number))


def test_a_split_without_copies_and_groups_is_the_one_that_it_always_was():
    splits = make_splits(Digits().load(), val_fraction=0.1, test_fraction=0.2, seed=0)
    assert [split.fingerprint() for split in splits.values()] == [
        "451fb2fbec5e5a58",
        "4c22a9d3b2e8e705",
        "14a8ba4f59fd56ff",
    ]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_never_parted_and_classes_keep_their_shares(seed):
    data = patients(seed)
    splits = make_splits({"all": data}, val_fraction=0.2, test_fraction=0.2, seed=seed)
    of = members(splits)
    assert is_everyone_once(splits, len(data))
    assert not (of["train"] & of["val"] or of["train"] & of["test"] or of["val"] & of["test"])
    shares = splits["test"].labels.bincount() / data.labels.bincount()
    assert ((shares - 0.2).abs() < 0.06).all(), shares
    assert 8 <= len(of["test"]) <= 20, "the test is neither a few large patients nor many small ones"


@pytest.mark.parametrize("seed", range(3))
def test_copies_stay_together_and_move_no_image_without_a_copy(seed):
    labels = counted(100, 60)
    files = torch.arange(160)
    plain = make_splits({"all": samples_of(labels, files)}, 0.1, 0.2, seed)
    files[1], files[90], files[150] = files[0], files[0], files[140]
    splits = make_splits({"all": samples_of(labels, files)}, 0.1, 0.2, seed)
    of = members(splits, "files")
    assert not (of["train"] & of["val"] or of["train"] & of["test"] or of["val"] & of["test"])
    assert splits["test"].labels.bincount().tolist() == [20, 12]
    moved = set(plain["test"].indices.tolist()) ^ set(splits["test"].indices.tolist())
    assert len(moved) <= 10


def test_images_are_of_one_unit_through_a_file_a_group_or_a_third_image():
    data = samples_of([0] * 6, files=[7, 7, 8, 9, 10, 11], groups=[1, 2, 2, 3, 3, 4])
    assert units_of(data).tolist() == [0, 0, 0, 1, 1, 2]
    assert units_of(samples_of([0, 1], files=[5, 6])) is None
    assert describe_units(data) == [
        "1 of 6 images are copies of another one (the same file twice): all copies of a file are kept in one"
        " split",
        "6 images in 4 groups: each group is kept in one split",
    ]


def test_a_class_with_two_groups_is_parted_however_the_others_lie():
    labels = [0] * 60 + [1] * 60 + [2] * 6
    groups = [index // 10 for index in range(120)] + [0, 0, 0, 11, 11, 11]
    for seed in range(20):
        splits = make_splits({"all": samples_of(labels, groups=groups)}, 0.0, 0.1, seed)
        assert 0 < int((splits["test"].labels == 2).sum()) < 6


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (
            [1, 1, 2, 2, 3, 3],
            r"class rose has 2 image\(s\), all of one group or copies of one file, and needs two",
        ),
        ([1, 2, 1, 3, 2, 3], r"class \w+ has its 2 groups on one side, however they are parted"),
    ],
)
def test_too_few_groups_are_one_line(groups, says):
    data = samples_of([0, 0, 1, 1, 2, 2], groups=groups)
    with pytest.raises(
        ValueError, match=rf"^data.test_fraction=0.3: {says}; more images would work, or "
    ) as caught:
        make_splits({"all": data}, 0.0, 0.3, 0, ("rose", "daisy", "tulip"))
    assert "\n" not in str(caught.value)


def test_the_tests_of_all_folds_are_every_image_once_by_equal_shares_and_validation_is_of_the_rest():
    labels = counted(53, 21, 12)
    folds = [make_splits({"all": samples_of(labels)}, 0.1, 0.2, 0, (), 5, fold) for fold in range(5)]
    tests = [fold["test"] for fold in folds]
    assert sorted(torch.cat([test.indices for test in tests]).tolist()) == list(range(86))
    assert {len(test) for test in tests} == {17, 18}
    for label, number in enumerate((53, 21, 12)):
        assert {int((test.labels == label).sum()) for test in tests} <= {number // 5, number // 5 + 1}
    assert all(is_everyone_once(fold, 86) and len(fold["val"]) >= 3 for fold in folds)


def test_a_fold_without_a_class_of_few_images_says_so():
    data = samples_of(counted(20, 20, 3))
    folds = [make_splits({"all": data}, 0.0, 0.2, 0, ("a", "b", "rare"), 5, fold) for fold in range(5)]
    said = [describe_absent(fold, ("a", "b", "rare")) for fold in folds]
    assert sorted(map(len, said)) == [0, 0, 0, 1, 1]
    assert ["test has no image of rare, which are too few to be parted"] in said


@pytest.mark.parametrize("seed", range(3))
def test_folds_keep_groups_whole_and_classes_near_their_shares(seed):
    data = patients(seed, number=100)
    tests = [make_splits({"all": data}, 0.1, 0.2, seed, (), 4, fold)["test"] for fold in range(4)]
    assert sorted(torch.cat([test.indices for test in tests]).tolist()) == list(range(len(data)))
    groups = [set(data.groups[test.indices].tolist()) for test in tests]
    assert sum(map(len, groups)) == 100
    shares = torch.stack([test.labels.bincount() / data.labels.bincount() for test in tests])
    assert ((shares - 0.25).abs() < 0.05).all(), shares


def test_of_data_with_its_own_test_a_fold_is_the_validation_and_of_data_with_both_there_is_none():
    parts = {"train": samples_of(counted(10, 10)), "test": samples_of(counted(3, 3))}
    folds = [make_splits(parts, 0.1, 0.2, 0, (), 2, fold) for fold in (0, 1)]
    assert all(len(fold["test"]) == 6 and len(fold["train"]) == 10 for fold in folds)
    assert sorted(torch.cat([fold["val"].indices for fold in folds]).tolist()) == list(range(20))
    with pytest.raises(ValueError, match=r"data.num_folds=2: the data has its own val and test"):
        make_splits(parts | {"val": parts["test"]}, 0.1, 0.2, 0, (), 2, 0)


@pytest.mark.parametrize(
    ("num_folds", "fold", "says"),
    [
        (5, 5, "data.fold=5: data.num_folds=5 are numbered from 0 to 4"),
        (5, -1, "data.fold=-1: data.num_folds=5 are numbered"),
        (None, 2, "data.fold=2 is a fold of none; data.num_folds=5 would make some"),
        (1, 0, "data.num_folds=1 must be 2 or more"),
        (9, 0, "data.num_folds=9: 1 of them would be empty; fewer folds or more images would work"),
    ],
)
def test_a_fold_that_is_none_is_refused(num_folds, fold, says):
    with pytest.raises(ValueError, match=says):
        make_splits({"all": samples_of(counted(4, 4))}, 0.1, 0.2, 0, (), num_folds, fold)


def test_folders_that_share_files_or_groups_are_told_with_counts_and_the_first_names(tmp_path):
    train = samples_of([0, 0, 1, 1], files=[1, 2, 3, 4], groups=[1, 1, 2, 2])
    train.paths = [tmp_path / f"train/{index}.png" for index in range(4)]
    test = samples_of([0, 1], files=[9, 3], groups=[7, 2])
    test.paths = [tmp_path / f"test/{index}.png" for index in range(2)]
    files, groups = describe_copies(
        make_splits({"train": train, "test": test, "val": samples_of([0])}, 0.1, 0.2, 0)
    )
    names = f"such as {tmp_path}/test/1.png and {tmp_path}/train/2.png: the numbers will be too good"
    assert files == (
        f"1 of 2 test images are copies of train images (the same file twice), {names}; keep one file of each"
    )
    assert (
        groups
        == f"1 of 2 test images are of groups that train has images of, {names}; keep each group in one part"
    )


def test_trained_on_everything_no_class_is_too_small():
    splits = make_splits({"all": samples_of(counted(5, 1))}, 0.0, 0.0, 0)
    assert [len(split) for split in splits.values()] == [6, 0, 0]
    splits = make_splits({"all": samples_of(counted(5, 5))}, 0.0, 0.2, 0)
    assert [len(split) for split in splits.values()] == [8, 0, 2]
