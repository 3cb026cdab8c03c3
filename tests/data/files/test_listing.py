"""The index of a large set of pictures gives what a look at its folders gives, and no longer counts once one
of them has changed."""

import os

import numpy as np
import pytest
from PIL import Image

from vitlab.data.files import listing
from vitlab.data.files.listing import list_folders, look_at_files
from vitlab.data.files.names import Names


@pytest.fixture
def folders(tmp_path):
    for name in ("a/1.png", "a/deep/er/2.png", "b/é 3.png", "b/notes.txt", "b/@eaDir/x.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 7).save(tmp_path / "set" / name, "PNG")
    return [tmp_path / "set" / "a", tmp_path / "set" / "b"]


@pytest.fixture
def look(tmp_path, folders, monkeypatch):
    """Lists the folders; returns names, what is known of them, and how many folders were walked for that."""
    monkeypatch.setattr(listing, "INDEXED", 1)
    monkeypatch.setattr(listing, "SETTLED_NS", -(10**12))  # the folders were written just now
    walked, walk = [], listing.look_for_images
    monkeypatch.setattr(listing, "look_for_images", lambda folder: walked.append(folder) or walk(folder))

    def all_of(asked=folders):
        walked.clear()
        found = list_folders(tmp_path / "set", asked, tmp_path / "cache")
        facts = found.places.sizes.tolist(), found.places.times.tolist(), found.unread, found.systems
        return list(found.places.names), found.counts, facts, len(walked)

    return all_of


def test_the_second_look_walks_no_folder_and_finds_the_same(look):
    names, counts, facts, walked = look()
    assert names == ["a/1.png", "a/deep/er/2.png", "b/é 3.png"] and counts == [2, 1] and walked == 2
    assert facts[2] == {".txt": 1} and facts[3] == {"@eaDir": 1}
    assert look() == (names, counts, facts, 0)


def change(path, what):
    if what == "new file":
        Image.new("L", (4, 4)).save(path / "a/deep/new.png")
    elif what == "new folder":
        (path / "b/new").mkdir()
    elif what == "renamed":
        (path / "a/1.png").rename(path / "a/0.png")
    elif what == "gone":
        (path / "a/1.png").unlink()
    elif what == "written to":
        with (path / "a/1.png").open("ab") as file:
            file.write(b"more")
    elif what == "touched":
        os.utime(path / "a/1.png", (1, 1))


@pytest.mark.parametrize("what", ["new file", "new folder", "renamed", "gone", "written to", "touched"])
def test_any_change_is_seen(look, tmp_path, what):
    before = look()
    change(tmp_path / "set", what)
    after = look()
    assert after[3] == 2 and (after[:3] != before[:3] or what == "new folder")
    assert look() == (*after[:3], 0)


def test_other_folders_and_damage_are_other_looks(look, folders, tmp_path):
    before = look()
    assert look(folders[1:])[1:] == ([1], ([before[2][0][2]], [before[2][1][2]], *before[2][2:]), 1)
    for file in (tmp_path / "cache" / "listings").iterdir():
        file.write_bytes(file.read_bytes()[:-40])
    assert look() == before


def test_a_small_set_has_no_index(look, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "INDEXED", 4)
    assert look()[3] == look()[3] == 2 and not (tmp_path / "cache").exists()


@pytest.mark.parametrize("what", ["gone", "written to", "renamed", "another order"])
def test_the_files_of_a_table_are_looked_at_once_until_something_changes(
    tmp_path, folders, look, what, monkeypatch
):
    names, root, looked, look_at = (
        ["b/é 3.png", "a/1.png", "a/none.png"],
        tmp_path / "set",
        [],
        listing._look_at,
    )
    monkeypatch.setattr(listing, "_look_at", lambda *given: looked.append(1) or look_at(*given))

    def sizes():
        found = look_at_files(root, Names.of(names), tmp_path / "t.csv", tmp_path / "cache")
        assert list(found.names) == names
        return dict(zip(names, found.sizes.tolist(), strict=True))

    size = (root / "a/1.png").stat().st_size
    known = {"b/é 3.png": size, "a/1.png": size, "a/none.png": -1}
    assert sizes() == sizes() == known and len(looked) == 1
    if what == "another order":
        names.reverse()
    else:
        change(root, what)
    known["a/1.png"] = {"written to": size + 4, "another order": size}.get(what, -1)
    assert sizes() == known and len(looked) == 2


def test_names_come_back_as_they_were_in_any_order_and_by_their_ends():
    texts = ["", "a.PNG", "caf\udce9.png", "ü/ö.jpg", "png", "x.tiff"]
    names = Names.of(texts)
    assert list(names) == texts == [names[index] for index in range(6)] and names[1:3] == texts[1:3]
    assert list(names.encoded(np.array([3, 0, 5]))) == [os.fsencode(texts[index]) for index in (3, 0, 5)]
    assert names.end_with([".png", ".tiff"]).tolist() == [False, True, True, False, False, True]
