"""`vitlab check`: what a careful person wants to know of data, without training."""

import json
import re
import shutil
from html import unescape

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def nasty(photo_folder):
    """A folder with much that may go wrong."""
    root = photo_folder("nasty", classes=("2", "10", "<b>"), count=6)
    shutil.copy(root / "2/0.png", root / "10/copy.png")
    shutil.copy(root / "2/1.png", root / "2/again.png")
    (root / "2/bad.jpg").write_bytes(b"<html>no picture</html>")
    (root / "10/empty.png").touch()
    (root / "10/notes.txt").touch()
    (root / "__MACOSX").mkdir()
    Image.new("CMYK", (300, 40)).save(root / "10/wide.jpg")
    return root


def test_everything_odd_is_said_at_the_terminal_in_the_json_and_on_the_page(vitlab, nasty, tmp_path):
    ended = vitlab(
        "check", "data=folder", f"data.root={nasty}", "data.image_size=32", "hydra.run.dir=checked"
    )
    assert ended.status == 0, ended.err
    facts = json.loads((tmp_path / "checked/check.json").read_text())
    assert facts["classes"] == ["2", "10", "<b>"] and facts["images"] == 23
    assert [sum(numbers) for numbers in zip(*facts["counts"].values(), strict=True)] == [8, 9, 6]
    assert dict(facts["unreadable"]) == {
        "2/bad.jpg": "a web page or XML instead of pixels",
        "10/empty.png": "the file is empty",
    }
    names = {frozenset(name.partition(" ")[0] for name in found) for found in facts["copies"]["all"]}
    assert names == {frozenset(("2/0.png", "10/copy.png")), frozenset(("2/1.png", "2/again.png"))}
    assert len(facts["copies"]["under_two_labels"]) == 1 and not facts["copies"]["across_splits"]
    assert facts["sizes"]["width"] == {"least": 32, "median": 32, "most": 300}
    assert facts["modes"] == {"RGB": 20, "CMYK": 1}
    page = unescape((tmp_path / "checked/check.html").read_text())
    for line in facts["findings"]:
        assert f"- {line}\n" in ended.out and line in page
    told = " ".join(facts["findings"])
    for words in (
        "2 picture(s) cannot be used: 2/bad.jpg (a web page or XML instead of pixels)",
        "1 picture(s) lie under two classes",
        "2 picture(s) are copies of another one",
        "3 class(es) with fewer than 10 train image(s)",
        "not read: 1 .txt; a system's own folders: __MACOSX",
    ):
        assert words in told
    assert re.search(r"^2 +\d +\d +\d +8$", ended.out, re.MULTILINE)
    assert "(seed 0, test_fraction 0.2, val_fraction 0.1)" in ended.out


def test_the_page_loads_nothing_and_the_sheet_shows_every_class(vitlab, nasty, tmp_path):
    vitlab("check", "data=folder", f"data.root={nasty}", "num_shown=3", "hydra.run.dir=checked")
    page = (tmp_path / "checked/check.html").read_text()
    assert not re.search(r"""src=["'](?!data:)""", page) and "<b>" not in page
    assert page.count("<img ") == 9
    sheet = np.asarray(Image.open(tmp_path / "checked/sheet.png"))
    assert (sheet[:, 200] != 255).any(axis=1).sum() > 250  # three rows of pictures of 96 px
    assert not (tmp_path / "checked/run.json").exists()


def test_bands_are_shown_as_people_see_them_with_their_sizes(vitlab, tmp_path):
    for name, red in (("far", 40), ("near", 200)):
        (tmp_path / "bands" / name).mkdir(parents=True)
        for number in range(6):
            bands = np.stack([np.full((20, 30), value, np.uint8) for value in (number, 0, 0, 0, red)], -1)
            np.save(tmp_path / "bands" / name / f"{number}.npy", bands)
    given = ["data=folder", "data.root=bands", "data.in_channels=5", "data.shown_bands=[4,1,2]"]
    ended = vitlab("check", *given, "data.image_size=32", "hydra.run.dir=checked")
    assert ended.status == 0 and "most common sizes: 30 x 20 (12)" in ended.out, ended.err
    colours = {
        tuple(pixel) for row in np.asarray(Image.open(tmp_path / "checked/sheet.png")) for pixel in row
    }
    assert {(40, 0, 0), (200, 0, 0)} <= colours


def test_a_table_is_named_by_its_file_and_its_groups_and_weights_are_said(vitlab, photo_folder, tmp_path):
    root = photo_folder(count=9)
    rows = [
        f"{file.relative_to(root)},{file.parent.name},{int(file.stem) % 3},{int(file.stem) % 2 * 2}"
        for file in sorted(root.rglob("*.png"))
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["path,label,who,sure", *rows]))
    given = ["data=table", f"data.root={root}", "data.file=rows.csv", "data.group_column=who"]
    ended = vitlab("check", *given, "data.weight_column=sure", "hydra.run.dir=checked")
    assert f"Table {tmp_path}/rows.csv: 27 images of 3 classes" in ended.out, ended.err
    assert "- test has the images of one group alone: its numbers tell of no other" in ended.out
    assert re.search(r"weights of training images: from 0 to 2; \d+ of 0 teach nothing", ended.out)


def test_given_parts_that_share_a_picture_are_found(vitlab, photo_folder, tmp_path):
    root = photo_folder("parts/train", count=4).parent
    for name in ("ash", "birch", "cedar"):
        (root / f"test/{name}").mkdir(parents=True)
        shutil.copy(root / f"train/{name}/0.png", root / f"test/{name}/copy.png")
    ended = vitlab("check", "data=folder", f"data.root={root}", "hydra.run.dir=checked")
    assert "3 picture(s) lie in two splits, such as train/ash/0.png (" in ended.out
    assert "(seed 0, val_fraction 0.1, test is the data's own)" in ended.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data=folder"], "data.root has no value; give one: data.root=..."),
        (["data=folder", "data.root=nowhere"], "data.root={}/nowhere: No such file or directory"),
        (["data.val_fraction=2"], "data.val_fraction=2 is no share"),
        (["data.num_folds=3", "data.fold=3"], "data.fold=3: data.num_folds=3 are numbered from 0 to 2"),
        (["num_shown=0"], "num_shown=0 must be a whole number from 1 up"),
        (["data.rot=x"], "unknown key data.rot; did you mean data.root?"),
    ],
)
def test_what_train_refuses_is_refused_in_the_same_line(vitlab, tmp_path, arguments, says):
    ended = vitlab("check", *arguments, "hydra.run.dir=checked")
    assert ended.status == 2 and ended.err.startswith(f"vitlab: {says.format(tmp_path)}"), ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "checked").exists()
