"""What lies below a folder: the images, and in a line all that is none."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from vitlab.data.files.decode import read_image
from vitlab.data.files.find import describe_unread, find_images
from vitlab.data.files.suffixes import WAYS_TO_READ


def test_find_images_goes_deep_and_leaves_out_what_is_hidden_or_no_image(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/deep/er/c.png", "a 花/d.webp", ".x.jpg", ".cache/e.jpg", "notes.txt", "z.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [file.relative_to(tmp_path).as_posix() for file in find_images(tmp_path)]
    assert found == ["a 花/d.webp", "a/deep/er/c.png", "b.JPG", "z.gif"]
    assert find_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_find_images_follows_links_but_neither_in_circles_nor_into_the_neighbours(tmp_path: Path) -> None:
    for name in ("set/rose/a.png", "set/tulip/b.png", "elsewhere/c.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "set/rose/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/rose/self").symlink_to(tmp_path / "set/rose")
    (tmp_path / "set/rose/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/rose/nowhere").symlink_to(tmp_path / "missing")
    assert [file.name for file in find_images(tmp_path / "set/rose")] == ["a.png", "c.png"]


def test_find_images_says_where_there_is_nothing_to_find(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "no image found"), (tmp_path / "missing", "No such file")):
        with pytest.raises(ValueError, match=reason) as caught:
            find_images(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_find_images_says_which_folder_it_may_not_read(not_root: None) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "open.png").touch()
        Path(folder, "shut").mkdir(mode=0)
        with pytest.raises(ValueError, match=r"shut: cannot be read \(Permission denied\)"):
            find_images(Path(folder))


def test_find_images_says_what_it_does_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "b.svg", "deep/c.SVG", "@eaDir/thumb.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in find_images(tmp_path)] == ["a.png"]
    assert f"{tmp_path}: not read: 2 .svg; a system's own folders: @eaDir" in caplog.text


def test_pictures_of_telephones_and_browsers_are_found_and_read(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    picture = Image.linear_gradient("L").convert("RGB").resize((32, 32))
    for name in ("a.jfif", "b.jpe", "c.avif", "d.heic", "e.HEIC"):
        form = {"f": "AVIF" if name == "c.avif" else "JPEG", "e": "JPEG", "c": "HEIF", "C": "HEIF"}[name[-1]]
        picture.save(tmp_path / name, form)
    found = find_images(tmp_path)
    assert [file.name for file in found] == ["a.jfif", "b.jpe", "c.avif", "d.heic", "e.HEIC"]
    for file in found:
        difference = read_image(file, 32, 3).astype(int) - np.asarray(picture).transpose(2, 0, 1)
        assert abs(difference).mean() < 4, file


def test_a_kind_that_needs_a_package_is_counted_with_what_would_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(WAYS_TO_READ, ".heic", "pip install 'vitlab[heic]'")
    line = describe_unread(Counter({".heic": 2, ".svg": 1}), Counter())
    assert line == "not read: 2 .heic (pip install 'vitlab[heic]' would), 1 .svg"
