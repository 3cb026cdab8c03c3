"""Several labels an image: splits and folds have each label by its share, orders and draws are fair to rare
ones, and every source of them agrees."""

import csv
import logging
import os

import pytest
import torch

from vitlab.data.fair_order import evaluation_order
from vitlab.data.known_split import keep_split, known_split
from vitlab.data.looked_at import find_again
from vitlab.data.sampler import sampling_weights
from vitlab.data.samples import HeldImages
from vitlab.data.sources.folder import ImageFolder
from vitlab.data.sources.planted_labels import PlantedLabels
from vitlab.data.sources.table import Table
from vitlab.data.splits import describe_absent, make_splits
from vitlab.data.stratified import stratified_folds, stratified_split
from vitlab.data.targets import codes_of, strata_of
from vitlab.randomness import generator_at

SHARES = torch.tensor([0.5, 0.2, 0.05, 0.02, 0.01])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def drawn(count=2000, seed=0):
    """Labels that often go together, some of them rare; a quarter of the images has none."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(count, len(SHARES), generator=generator) < SHARES).to(torch.int8)
    labels[:, 3] |= labels[:, 2] & (torch.rand(count, generator=generator) < 0.5).to(torch.int8)
    return labels


def test_a_split_has_each_label_by_its_share_and_is_the_same_for_one_seed():
    labels, names = drawn(), list("abcde")
    rest, chosen = stratified_split(labels, 0.2, 0, "data.val_fraction", names, "")
    assert abs(len(chosen) - 400) <= 8 and sorted([*rest.tolist(), *chosen.tolist()]) == list(range(2000))
    for label, total in enumerate(labels.long().sum(dim=0).tolist()):
        assert abs(int(labels[chosen, label].sum()) - 0.2 * total) <= 1 + 0.01 * total
    again, other = (stratified_split(labels, 0.2, seed, "data.val_fraction", names, "")[1] for seed in (0, 1))
    assert torch.equal(chosen, again) and not torch.equal(chosen, other)


def test_rare_labels_are_shared_out_better_than_by_chance():
    labels, off = drawn(), {"iterative": 0.0, "chance": 0.0}
    for seed in range(5):
        folds = stratified_folds(labels, 5, seed, list("abcde"))
        by_chance = (
            torch.arange(2000)[torch.randperm(2000, generator=torch.Generator().manual_seed(seed))] % 5
        )
        for name, sides in {"iterative": folds, "chance": by_chance}.items():
            counts = torch.stack([labels[sides == side].long().sum(dim=0) for side in range(5)]).double()
            off[name] += float((counts - counts.mean(dim=0)).abs().mean())
        assert folds.bincount().tolist() == pytest.approx([400] * 5, abs=8)
    assert off["iterative"] < off["chance"] / 4


def test_what_belongs_together_stays_together():
    labels = drawn(600)
    groups = torch.arange(600) // 3
    samples = HeldImages(torch.zeros(600, 1, 2, 2, dtype=torch.uint8), labels)
    samples.groups = groups
    splits = make_splits({"all": samples}, 0.2, 0.2, 0, list("abcde"))
    sides = [set(groups[split.indices].tolist()) for split in splits.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert all(abs(len(splits[name]) - count) <= 12 for name, count in {"test": 120, "val": 96}.items())
    for split in splits.values():
        assert int(split.labels[:, 0].sum()) == pytest.approx(0.5 * len(split), abs=0.08 * len(split))


def test_the_only_image_of_a_label_is_trained_on_and_a_line_says_where_it_is_missing():
    labels = drawn(100)[:, :3]
    labels[:, 2] = 0
    labels[7, 2] = 1
    samples = HeldImages(torch.zeros(100, 1, 2, 2, dtype=torch.uint8), labels)
    splits = make_splits({"all": samples}, 0.2, 0.2, 0, ["oak", "elm", "yew"])
    assert 7 in splits["train"].indices
    assert describe_absent(splits, ["oak", "elm", "yew"]) == [
        f"{name} has no image of yew, which are too few to be parted" for name in ("val", "test")
    ]


def test_rare_labels_are_drawn_as_often_as_common_ones_and_numbers_have_none():
    labels = torch.tensor([[1, 0]] * 90 + [[1, 1]] * 10 + [[0, 0]] * 20, dtype=torch.int8)
    weights = sampling_weights(labels, "balanced")
    assert weights[[0, 95, 110]].tolist() == pytest.approx([1 / 100, 1 / 10, 1 / 20])
    assert sampling_weights(labels, "sqrt")[95].item() == pytest.approx(10**-0.5)
    with pytest.raises(ValueError, match="numbers have no classes; uniform would work"):
        sampling_weights(torch.zeros(3, 1), "balanced")


def test_the_first_images_of_a_limited_evaluation_hold_every_label():
    labels = drawn()
    order = evaluation_order(labels, 1, 8, generator_at(0, "test"))
    assert (labels[order[:8]].long().sum(dim=0) > 0).all() and sorted(order.tolist()) == list(range(2000))
    assert strata_of(labels[:1] * 0).tolist() == [len(SHARES)]


def test_a_checkpoints_split_is_found_again_and_changed_labels_are_counted(caplog):
    labels = drawn(50)
    samples = HeldImages(torch.zeros(50, 1, 2, 2, dtype=torch.uint8), labels, torch.arange(50) * 7 + 1)
    known = known_split(keep_split("files:x", make_splits({"all": samples}, 0.2, 0.2, 0, list("abcde"))))
    assert torch.equal(known.labels["val"], codes_of(labels[(known.files["val"] - 1) // 7]))
    changed = labels.clone()
    place = int((known.files["val"][0] - 1) // 7)
    changed[place, 0] ^= 1
    samples.labels = changed
    with caplog.at_level(logging.WARNING):
        found = find_again("val", {"all": samples}, known)
    assert torch.equal(samples.files[found.indices].sort().values, known.files["val"].sort().values)
    assert "under another class than in the run: 1" in caplog.text


@pytest.fixture(scope="module")
def photos(tmp_path_factory, write_photos):
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", side=8, count=6)


def rows_of(photos):
    """Rows with three labels each: the class, and whether the number is even or below 3."""
    rows = []
    for file in sorted(photos.rglob("*.png")):
        has = {
            file.parent.name,
            *(["even"] if int(file.stem) % 2 == 0 else []),
            *(["low"] if int(file.stem) < 3 else []),
        }
        rows.append((file.relative_to(photos).as_posix(), has))
    return rows


def written(folder, header, rows):
    with (folder / "table.csv").open("w", newline="") as out:
        csv.writer(out).writerows([header, *rows])
    return str(folder / "table.csv")


NAMES = ("ash", "birch", "cedar", "even", "low")


def table(photos, file, label_column, **options):
    return Table(str(photos), 8, file, label_column=label_column, **{"targets": "labels"} | options)


def test_a_column_a_label_and_one_column_with_a_separator_are_the_same(photos, tmp_path):
    rows = rows_of(photos)
    as_columns = written(
        tmp_path, ["path", *NAMES], [[path, *(int(name in has) for name in NAMES)] for path, has in rows]
    )
    one = table(photos, as_columns, list(NAMES))
    (tmp_path / "joined").mkdir()
    joined = written(
        tmp_path / "joined", ["path", "tags"], [[path, "; ".join(sorted(has))] for path, has in rows]
    )
    other = table(photos, joined, "tags", label_separator=";")
    assert one.class_names == other.class_names == NAMES
    first, second = one.load()["all"], other.load()["all"]
    assert torch.equal(first.labels, second.labels) and first.labels.dtype == torch.int8
    assert first.labels.sum(dim=0).tolist() == [6, 6, 6, 9, 9]
    assert torch.equal(first.fetch(torch.arange(18)), second.fetch(torch.arange(18)))
    prints = [each.fingerprint({"all": held}) for each, held in ((one, first), (other, second))]
    assert prints[0] == prints[1]
    changed = written(
        tmp_path,
        ["path", *NAMES],
        [[path, *(int(name in has) for name in NAMES[:-1]), int("/5" in path)] for path, has in rows],
    )
    anew = table(photos, changed, list(NAMES))
    assert anew.fingerprint({"all": anew.load()["all"]}) != prints[0]


BAD = {
    "a word": (["path", "oak"], lambda place: "yes", ["oak"], {}, "row 1 has oak='yes', and 0 or 1 is due"),
    "a two": (["path", "oak"], lambda place: place % 3, ["oak"], {}, "row 3 has oak='2', and 0 or 1 is due"),
    "empty": (["path", "oak"], lambda place: "", ["oak"], {}, "row 1 has oak='', and 0 or 1 is due"),
    "nowhere": (["path", "oak"], lambda place: 0, ["oak"], {}, "no training picture has oak"),
    "everywhere": (["path", "oak"], lambda place: 1, ["oak"], {}, "every training picture has oak"),
    "separator": (
        ["path", "t"],
        lambda place: "a|b",
        "t",
        {"label_separator": ";"},
        "';' parts no label of t",
        "'|' stands there",
    ),
    "no separator": (
        ["path", "t"],
        lambda place: "a;b",
        "t",
        {},
        "t='a;b', and 0 or 1 is due",
        "data.label_separator=';'",
    ),
    "twice": (["path", "t"], lambda place: 1, ["t", "t"], {}, "data.label_column=[t,t]: give"),
    "both": (
        ["path", "t"],
        lambda place: 1,
        ["t", "u"],
        {"label_separator": ";"},
        "parts the labels of one column",
    ),
    "one class": (
        ["path", "t"],
        lambda place: 1,
        ["t", "u"],
        {"targets": "class"},
        "objective=multilabel takes them",
    ),
    "one class, separator": (
        ["path", "t"],
        lambda place: 1,
        "t",
        {"targets": "class", "label_separator": ";"},
        "objective=multilabel takes them",
    ),
    "number": (
        ["path", "t"],
        lambda place: "big",
        ["t"],
        {"targets": "numbers"},
        "row 1 has t='big', and a number is due",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_one_line(photos, tmp_path, name):
    header, value, column, options, *says = BAD[name]
    file = written(
        tmp_path, header, [[path, value(place)] for place, (path, _) in enumerate(rows_of(photos))]
    )
    with pytest.raises(ValueError) as complaint:
        source = table(photos, file, column, **options)
        assert source.class_names and source.load()
    assert all(each in str(complaint.value) for each in says) and "\n" not in str(complaint.value)


def test_rows_that_disagree_on_a_pictures_labels_are_refused_and_equal_ones_count_once(photos, tmp_path):
    rows = [[path, int("ash" in has)] for path, has in rows_of(photos)]
    source = table(photos, written(tmp_path, ["path", "oak"], [*rows, rows[0]]), ["oak"])
    assert len(source.load()["all"]) == 18
    again = [rows[0][0], 1 - rows[0][1]]
    with pytest.raises(ValueError, match=r"rows 1 and 19 disagree on the labels of ash/0\.png"):
        table(photos, written(tmp_path, ["path", "oak"], [*rows, again]), ["oak"]).load()


def test_a_picture_in_several_folders_has_all_their_labels_only_where_labels_are_asked_for(photo_folder):
    root = photo_folder(side=8, count=4)
    (root / "birch" / "also.png").write_bytes((root / "ash" / "0.png").read_bytes())
    os.link(root / "ash" / "1.png", root / "cedar" / "linked.png")
    (root / "birch" / "soft.png").symlink_to(root / "cedar" / "0.png")
    one_each, several = ImageFolder(str(root), 8), ImageFolder(str(root), 8, targets="labels")
    assert len(one_each.load()["all"]) == 15
    found = several.load()["all"]
    assert len(found) == 12 and found.labels.sum(dim=0).tolist() == [4, 6, 5]
    names = [str(path.relative_to(root)) for path in found.paths]
    assert found.labels[names.index("ash/0.png")].tolist() == [1, 1, 0]
    assert found.labels[names.index("ash/1.png")].tolist() == [1, 0, 1]


def test_sequences_of_hugging_face_are_labels(photos, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    from vitlab.data.sources.hugging_face import HuggingFace

    rows = rows_of(photos)
    labels = [[NAMES.index(name) for name in sorted(has)] for _, has in rows]
    features = datasets.Features(
        {"image": datasets.Image(), "tags": datasets.Sequence(datasets.ClassLabel(names=list(NAMES)))}
    )
    held = {"image": [str(photos / path) for path, _ in rows], "tags": labels}
    datasets.Dataset.from_dict(held, features=features).save_to_disk(tmp_path / "set")
    path = str(tmp_path / "set")
    found = HuggingFace(path, 8, path, label_column="tags", targets="labels")
    assert found.class_names == NAMES
    assert found.load()["all"].labels.sum(dim=0).tolist() == [6, 6, 6, 9, 9]
    with pytest.raises(ValueError, match="objective=multilabel takes them"):
        HuggingFace(path, 8, path, label_column="tags").load()


def test_each_planted_pattern_lies_in_a_patch_of_its_own_where_the_masks_say():
    source = PlantedLabels(32, 4, 8, 300, 60, 0.3, 0)
    samples, masks = source.load()["all"], source.masks()
    assert torch.equal(masks.flatten(2).sum(dim=2), samples.labels.long())
    assert int(masks.sum(dim=1).max()) == 1  # never two in one patch
    assert samples.labels.float().mean().item() == pytest.approx(0.3, abs=0.03)
    patches = samples.images[:, 0].float().unfold(1, 4, 4).unfold(2, 4, 4).flatten(3)
    patches = patches - patches.mean(dim=-1, keepdim=True)
    for label in range(8):
        image, row, column = masks[:, label].nonzero().unbind(1)
        pattern = patches[image, row, column].mean(dim=0)
        response = (patches[image] * pattern).sum(dim=3).flatten(1).argmax(dim=1)
        assert (response == row * 8 + column).float().mean() > 0.99
    assert torch.equal(PlantedLabels(32, 4, 8, 300, 60, 0.3, 0).load()["all"].images, samples.images)
