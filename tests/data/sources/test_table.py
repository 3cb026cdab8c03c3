"""A table of any kind becomes the parts, classes, labels and groups that its rows name, or one line says why
not."""

import csv
import json
import logging

import pytest
import torch

from vitlab.data.sources.folder import ImageFolder
from vitlab.data.sources.table import Table
from vitlab.data.splits import Split

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def write(file, rows):
    """Writes rows, dicts of one form, into a table of the kind that the file's name says."""
    if file.suffix in (".csv", ".tsv"):
        with file.open("w", newline="") as lines:
            table = csv.DictWriter(lines, rows[0], delimiter="\t" if file.suffix == ".tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        from pyarrow import Table as Arrow
        from pyarrow import parquet

        parquet.write_table(Arrow.from_pylist(rows), file)
    return file


@pytest.fixture(scope="module")
def photos(tmp_path_factory, write_photos):
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", side=8)


def rows_of(photos):
    return [
        {"path": file.relative_to(photos).as_posix(), "label": file.parent.name, "side": index % 5}
        for index, file in enumerate(sorted(photos.rglob("*.png"))[::-1])
    ]


@pytest.mark.parametrize("store", ["cache", "none"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_a_folder_in_any_order_is_the_folder(photos, tmp_path, kind, store):
    file = write(tmp_path / f"labels.{kind}", rows_of(photos))
    source, folder = Table(str(photos), 8, str(file), store=store), ImageFolder(str(photos), 8, store=store)
    assert source.class_names == folder.class_names == ("ash", "birch", "cedar")
    one, other = source.load()["all"], folder.load()["all"]
    assert torch.equal(one.labels, other.labels) and torch.equal(one.files, other.files)
    assert torch.equal(one.fetch(torch.arange(36)), other.fetch(torch.arange(36)))
    assert source.fingerprint({"all": one}) == folder.fingerprint({"all": other})


def loaded(photos, tmp_path, rows, kind="csv", **options):
    return Table(str(photos), 8, str(write(tmp_path / f"labels.{kind}", rows)), **options).load()


def test_a_split_column_makes_parts_and_a_group_column_groups(photos, tmp_path):
    rows = [
        row | {"part": ["Train", "valid", "train", "test"][n % 4]} for n, row in enumerate(rows_of(photos))
    ]
    parts = loaded(photos, tmp_path, rows, split_column="part", group_column="side")
    assert {name: len(part) for name, part in parts.items()} == {"train": 18, "val": 9, "test": 9}
    by_name = {row["path"]: row["side"] for row in rows}
    folder = ImageFolder(str(photos), 8).load()["all"]
    places = [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.png"))]
    side_of = {int(file): by_name[name] for file, name in zip(folder.files, places, strict=True)}
    pairs = {
        (int(group), side_of[int(file)])
        for part in parts.values()
        for group, file in zip(part.groups, part.files, strict=True)
    }
    assert len(pairs) == len({group for group, _ in pairs}) == 5  # one number for each value, and no other


def test_a_weight_column_gives_each_picture_its_weight(photos, tmp_path):
    rows = [row | {"sure": n / 4} for n, row in enumerate(rows_of(photos))]
    for kind in ("csv", "parquet"):
        samples = loaded(photos, tmp_path, rows, kind, weight_column="sure")["all"]
        of = {str(photos / row["path"]): row["sure"] for row in rows}
        assert [of[str(path)] for path in samples.paths] == samples.weights.tolist()
    split = Split(samples, torch.arange(3, 20))
    split.weigh()
    assert split.weights.mean().item() == pytest.approx(1)
    torch.testing.assert_close(
        split.weights / split.weights[0], (samples.weights / samples.weights[3])[3:20].float()
    )
    at = torch.tensor([4, 2])
    assert torch.equal(split[(0, at)].weights, split.weights[at])


def test_weights_that_are_all_the_same_are_none(photos, tmp_path):
    samples = loaded(photos, tmp_path, [row | {"sure": 3} for row in rows_of(photos)], weight_column="sure")
    split = Split(samples["all"], torch.arange(36))
    split.weigh()
    assert split.weights is None and split[(0, torch.arange(2))].weights is None


def test_paths_are_made_of_names_numbers_are_classes_in_their_order_and_blanks_do_not_count(photos, tmp_path):
    rows = [{"id": f" {n} ", "label": label, "more": "x"} for n, label in enumerate([10, 2, 10, 2])]
    for kind in ("csv", "jsonl"):
        file = write(tmp_path / f"ids.{kind}", rows)
        source = Table(str(photos), 8, str(file), path_column="id", path_format="ash/{}.png")
        assert source.class_names == ("2", "10")
        assert source.load()["all"].labels.tolist() == [0, 0, 1, 1]
    numbers = [{"path": f"ash/{n}.png", "label": float(n % 2)} for n in range(4)]
    file = write(tmp_path / "numbers.parquet", numbers)
    assert Table(str(photos), 8, str(file)).class_names == ("0", "1")


def test_a_table_may_lie_in_its_folder_and_separate_by_semicolons(photos, tmp_path):
    file = photos / "inside.csv"
    file.write_text("\ufeffpath;label\r\n./ash/0.png;a\r\nbirch//0.png;b\r\n\r\n", encoding="utf-8")
    assert len(Table(str(photos), 8, "inside.csv").load()["all"]) == 2
    file.unlink()


def test_rows_that_repeat_a_picture_count_once_and_are_said(photos, tmp_path, caplog):
    rows = rows_of(photos)
    with caplog.at_level(logging.WARNING):
        assert (
            len(loaded(photos, tmp_path, [*rows, rows[0], rows[1] | {"path": f"./{rows[1]['path']}"}])["all"])
            == 36
        )
    assert "2 row(s) name a picture that another row names; each counts once" in caplog.text


BAD = {
    "column": ({"label_column": "species"}, None, "data.label_column=species", "it has path, label, side"),
    "split column": ({"split_column": "fold"}, None, "data.split_column=fold", "it has path, label, side"),
    "empty label": ({}, {3: {"label": ""}}, "row 4 has no label"),
    "label of blanks": ({}, {0: {"label": "  "}}, "row 1 has no label"),
    "empty path": ({}, {2: {"path": ""}}, "row 3 has no path"),
    "leaves": ({}, {5: {"path": "../photos/ash/0.png"}}, "row 6: ../photos/ash/0.png leaves data.root="),
    "leaves in between": ({}, {5: {"path": "ash/../../x.png"}}, "row 6: ash/../../x.png leaves data.root="),
    "absolute": (
        {},
        {5: {"path": "/etc/passwd"}},
        "/etc/passwd is not below data.root",
        "allow_absolute=true",
    ),
    "missing": (
        {},
        {1: {"path": "ash/none.png"}, 2: {"path": "x\0y"}},
        "2 of 36 pictures are no files",
        "ash/none.png",
    ),
    "a folder": ({}, {1: {"path": "ash"}}, "1 of 36 pictures are no files below"),
    "disagree": ({}, {1: {"path": "ash/0.png", "label": "x"}}, "disagree on the label of ash/0.png"),
    "groups disagree": (
        {"group_column": "side"},
        {1: {"path": "cedar/9.png", "label": "cedar"}},
        "disagree on the side",
    ),
    "one class": ({}, {n: {"label": "x"} for n in range(36)}, "only one class (x)"),
    "unknown part": ({"split_column": "side"}, None, "has 0, 1, 2, 3, 4 there; known: train, training, val"),
    "no train": (
        {"split_column": "side"},
        {n: {"side": "test"} for n in range(36)},
        "has test without train",
    ),
    "class in test alone": (
        {"split_column": "side"},
        {n: {"side": "test" if n < 12 else "train"} for n in range(36)},
        "cedar in test are no classes of train",
    ),
    "negative weight": ({"weight_column": "side"}, {1: {"side": "-0.5"}}, "row 2 has side=-0.5; a weight is"),
    "no weight": ({"weight_column": "side"}, {2: {"side": ""}}, "row 3 has side=; a weight is a number"),
    "weight that is no number": ({"weight_column": "side"}, {0: {"side": "nan"}}, "row 1 has side=nan"),
    "endless weight": ({"weight_column": "side"}, {0: {"side": "inf"}}, "row 1 has side=inf"),
    "weights of 0": (
        {"weight_column": "side"},
        {n: {"side": "0"} for n in range(36)},
        "data.weight_column=side",
        "has 0 in all rows",
    ),
    "weights disagree": (
        {"weight_column": "side"},
        {1: {"path": "cedar/9.png", "label": "cedar"}},
        "disagree on the side",
    ),
    "format": ({"path_format": "images/"}, None, "data.path_format=images/: {} stands for"),
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_before_a_picture_is_opened(photos, tmp_path, name, kind, monkeypatch):
    options, changes, *says = BAD[name]
    rows = rows_of(photos)
    if changes and "side" in next(iter(changes.values())):
        rows = [row | {"side": str(row["side"])} for row in rows]
    for place, change in (changes or {}).items():
        rows[place] |= change
    monkeypatch.setattr("vitlab.data.sources.picture_files.open_store", None)
    with pytest.raises(ValueError) as complaint:
        loaded(photos, tmp_path, rows, kind, **options)
    assert all(part in str(complaint.value) for part in says), complaint.value
    assert "\n" not in str(complaint.value) and (str(tmp_path) in str(complaint.value) or name == "format")


BROKEN = {
    "Parquet cut short": ("a.parquet", lambda whole: whole[: len(whole) // 2], "no whole Parquet file"),
    "no Parquet": ("a.parquet", lambda whole: b"path,label\n", "no whole Parquet file"),
    "no JSON": ("a.jsonl", lambda whole: whole[:-9], "line 36 is no JSON"),
    "JSON that is no object": ("a.jsonl", lambda whole: b"3\n", "line 1 is no object"),
    "a line without the name": (
        "a.jsonl",
        lambda whole: whole + b'{"path": "x"}\n',
        "no such name in line 37; it has path",
    ),
    "a line cut short": (
        "a.csv",
        lambda whole: whole + b"ash/0.png\n",
        "line 38: 1 fields where the first line has 3",
    ),
    "another encoding": ("a.csv", lambda whole: whole + b"caf\xe9,a,1\n", "no UTF-8 text"),
    "nothing": ("a.csv", lambda whole: b"", "no such column"),
    "no row": ("a.csv", lambda whole: whole[: whole.index(b"\n") + 1], "no row below the names"),
    "another kind": ("a.xlsx", lambda whole: whole, "a table's name ends with .csv .tsv .jsonl"),
    "not there": ("a.csv", None, "No such file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line(photos, tmp_path, name):
    called, change, says = BROKEN[name]
    file = write(
        (tmp_path / called).with_suffix(".csv" if called.endswith("xlsx") else f".{called[2:]}"),
        rows_of(photos),
    )
    content = file.read_bytes()
    file.unlink()
    if change:
        (tmp_path / called).write_bytes(change(content))
    with pytest.raises(ValueError) as complaint:
        Table(str(photos), 8, str(tmp_path / called)).load()
    assert says in str(complaint.value) and str(tmp_path / called) in str(complaint.value)
    assert "\n" not in str(complaint.value)


def test_absolute_paths_below_the_folder_are_taken_and_others_when_allowed(photos, tmp_path):
    rows = [row | {"path": str(photos / row["path"])} for row in rows_of(photos)]
    assert len(loaded(photos, tmp_path, rows)["all"]) == 36
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="is not below"):
        loaded(tmp_path / "elsewhere", tmp_path, rows)
    assert len(loaded(tmp_path / "elsewhere", tmp_path, rows, allow_absolute=True)["all"]) == 36


def test_missing_files_are_left_out_and_counted_where_bad_images_are_skipped(photos, tmp_path, caplog):
    rows = rows_of(photos)
    rows[7]["path"] = "gone.png"
    with caplog.at_level(logging.WARNING):
        assert len(loaded(photos, tmp_path, rows, on_bad_image="skip")["all"]) == 35
    assert "1 of 36 pictures are no files" in caplog.text and "gone.png" in caplog.text
