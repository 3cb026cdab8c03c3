"""What a checkpoint keeps of its run's split finds the images again that the run held back, whatever has
become of their folder."""

from typing import Any

import pytest
import torch

from vitlab.data.copies import describe_copies, describe_seen, under_two_labels
from vitlab.data.known_split import KnownSplit, keep_split, known_split
from vitlab.data.looked_at import find_again
from vitlab.data.samples import HeldImages
from vitlab.data.splits import make_splits


def images(*files: int) -> HeldImages:
    """Images of these files, half of them of one class."""
    labels = torch.arange(len(files)) % 2
    return HeldImages(torch.zeros(len(files), 1, 1, 1, dtype=torch.uint8), labels, torch.tensor(files))


TRAIN, VAL, TEST = range(100, 120), range(200, 205), range(-305, -300)
FILES = {"train": torch.tensor(TRAIN), "val": torch.tensor(VAL), "test": torch.tensor(TEST)}
KNOWN = KnownSplit("then", FILES, {name: torch.zeros_like(files) for name, files in FILES.items()})


def found(name: str, **parts: HeldImages) -> list[int]:
    split = find_again(name, parts, KNOWN)
    assert split.samples.files is not None
    return split.samples.files[split.indices].tolist()


def test_of_a_folder_that_has_grown_and_lost_some_what_the_run_held_back_is_tested(
    caplog: pytest.LogCaptureFixture,
) -> None:
    grown = images(7, *TRAIN, -303, 8, -302, -301, *VAL, 9)
    assert found("test", all=grown) == [-303, -302, -301]
    assert "the 3 images that the run held back; missing: 2; new and left out: 3" in caplog.text
    assert found("val", all=grown) == list(VAL) and found("train", all=grown) == list(TRAIN)


def test_of_copies_as_many_are_tested_as_the_run_held_back() -> None:
    assert found("test", all=images(-305, -301, -305, *TRAIN, -301, -301)) == [-305, -301]
    files = KNOWN.files | {"train": torch.tensor([100, -301]), "test": torch.tensor([-301, -302, -302])}
    twice = KnownSplit("then", files, {name: torch.zeros_like(each) for name, each in files.items()})
    split = find_again("test", {"all": images(-302, -301, 100, -301, -302, -302)}, twice)
    assert split.indices.tolist() == [0, 1, 4]


def test_another_folder_is_tested_whole_but_for_what_the_run_trained_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert found("test", all=images(1, 2, 3)) == [1, 2, 3]
    assert "all 3 images, none of them the run's" in caplog.text and "left out" not in caplog.text
    assert found("test", all=images(1, 100, 2, 200)) == [1, 2]
    assert "left out, as the run had them in train and val: 2" in caplog.text
    with pytest.raises(
        ValueError, match="no image is left as test: here are only 25 that the run had in train and val"
    ):
        found("test", all=images(*TRAIN, *VAL))


def test_a_folders_own_test_images_are_tested_but_for_what_the_run_trained_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert found("test", train=images(*TRAIN), test=images(*TEST, 1, 2, 101)) == [*TEST, 1, 2]
    assert (
        "all 7 images of the data's own part; new since then: 2; left out, as the run had them in train and"
        " val: 1" in caplog.text
    )


def test_images_that_lie_under_another_class_than_in_the_run_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert found("test", all=images(-305, -304, -303, -302, 7, -301)) == [-305, -304, -303, -302, -301]
    assert (
        "under another class than in the run: 3" in caplog.text
    )  # all were of class 0; every second one here is of class 1
    caplog.clear()
    assert found("test", all=images(-305, 7, -303, 8, -301)) == [-305, -303, -301]
    assert "another class" not in caplog.text


def test_images_without_files_are_refused_where_nothing_tells_which_were_trained_on() -> None:
    nameless = HeldImages(images(1, 2, 3).images, images(1, 2, 3).labels)
    with pytest.raises(ValueError, match="which of them it trained on cannot be told"):
        find_again("test", {"all": nameless}, KNOWN)
    assert len(find_again("test", {"train": nameless, "test": nameless}, KNOWN)) == 3


def test_a_checkpoint_keeps_the_split_as_plain_text_and_gives_it_back() -> None:
    splits = make_splits({"all": images(*TRAIN, *TEST)}, 0.2, 0.2, seed=0)
    kept = keep_split("hash", splits)
    assert all(isinstance(text, str) for text in kept["files"].values())
    known = known_split(kept)
    assert known.fingerprint == "hash" and sorted(torch.cat(list(known.files.values())).tolist()) == sorted(
        [*TRAIN, *TEST]
    )
    for name, split in splits.items():
        assert (
            split.samples.files is not None
            and known.files[name].tolist() == split.samples.files[split.indices].tolist()
        )
        assert known.labels[name].tolist() == split.labels.tolist()


@pytest.mark.parametrize(
    "kept",
    [
        None,
        3,
        {},
        {"fingerprint": "a"},
        {"fingerprint": 1, "files": {}, "labels": {}},
        {"fingerprint": "a", "files": {"train": ""}},
    ]
    + [
        {
            "fingerprint": "a",
            "files": dict.fromkeys(("train", "val", "test"), text),
            "labels": dict.fromkeys(("train", "val", "test"), ""),
        }
        for text in ("AAA", "????????", 7, None, "AAAA")
    ],
)
def test_a_strangers_split_is_refused_in_one_line(kept: Any) -> None:
    with pytest.raises(ValueError, match="the checkpoint's data is not what `vitlab train` writes"):
        known_split(kept)


def test_copies_across_splits_are_counted_and_those_within_one_are_not() -> None:
    parts = {"train": images(1, 1, 2, 3), "val": images(3, 4, 5), "test": images(5, 2, 2, 6)}
    (line,) = describe_copies(make_splits(parts, 0.5, 0.5, seed=0))
    assert (
        "1 of 3 val images are copies of train images, 2 of 4 test images are copies of train images, "
        in line
    )
    assert "1 of 4 test images are copies of val images (" in line
    assert not describe_copies(
        make_splits({"train": images(1, 1), "val": images(2, 3), "test": images(4, 5)}, 0.5, 0.5, seed=0)
    )


def test_what_weights_were_trained_on_is_counted_where_it_is_held_back_now() -> None:
    then, now = (make_splits({"all": images(*TRAIN, *TEST)}, 0.2, 0.2, seed) for seed in (0, 1))
    trained_on = known_split(keep_split("", then)).files["train"]
    assert not describe_seen(then, trained_on)
    number = len({*now["test"].indices.tolist()} & {*then["train"].indices.tolist()})
    assert number and f"{number} of {len(now['test'])} test images" in describe_seen(now, trained_on)[0]


def test_a_file_under_two_labels_is_found_once_and_copies_under_one_label_are_not() -> None:
    files, labels = torch.tensor([5, 6, 5, 7, 5, 6, 8]), torch.tensor([0, 1, 0, 0, 2, 1, 0])
    ((first, second),) = under_two_labels(files, labels)
    assert files[first] == files[second] == 5 and labels[first] != labels[second]


def test_of_very_many_images_the_hash_alone_is_kept_and_of_another_kind_of_hash_no_image_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = make_splits({"all": images(*range(40))}, 0.25, 0.25, seed=0)
    assert known_split(keep_split("then", splits)).files.keys() == {"train", "val", "test"}
    monkeypatch.setattr("vitlab.data.known_split.KEPT", 39)
    assert known_split(keep_split("then", splits)) == KnownSplit("then", {}, {})
    with pytest.raises(ValueError, match="which of them it trained on cannot be told"):
        find_again("test", {"all": images(*TRAIN)}, KNOWN, "listing:now")
