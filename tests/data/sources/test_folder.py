"""Folders of images become the parts, classes and labels that a person would read off the folders, or one
line says why not."""

import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

from vitlab.data.files.decode import Reading, read_image
from vitlab.data.sources.folder import ImageFolder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def paint(root: Path, files: dict[str, int]) -> Path:
    """Writes grey images of one shade each: the shade tells afterwards which file an image came from."""
    for name, shade in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), shade).save(root / name)
    return root


def shades(source: ImageFolder) -> dict[str, list[tuple[int, str]]]:
    """Loads a source; for each part the shade of each image, and its class by name."""
    parts = source.load()
    return {
        part: [
            (int(image[0, 0, 0]), source.class_names[label])
            for image, label in zip(data.images, data.labels, strict=True)
        ]
        for part, data in parts.items()
    }


def refusal(root: Path, **settings: object) -> str:
    with pytest.raises(ValueError) as caught:
        ImageFolder(str(root), 4, **settings).load()  # pyright: ignore
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_class_folders_without_parts_are_all_and_classes_are_numbered_by_name(tmp_path: Path) -> None:
    paint(tmp_path, {"b/1.png": 10, "a/2.png": 20, "a/1.png": 30, "C/9.jpg": 40})
    source = ImageFolder(str(tmp_path), 4)
    assert source.class_names == ("C", "a", "b")
    assert shades(source) == {"all": [(40, "C"), (30, "a"), (20, "a"), (10, "b")]}


def test_classes_named_by_numbers_are_sorted_as_numbers_before_all_others(tmp_path: Path) -> None:
    paint(tmp_path, {f"{name}/1.png": 10 for name in ("10", "2", "a", "10b", "1", "-3")})
    assert ImageFolder(str(tmp_path), 4).class_names == ("1", "2", "10", "-3", "10b", "a")


def test_empty_folders_are_counted_and_one_with_images_deeper_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paint(tmp_path, {"a/deep/1.png": 10, "b/1.png": 20})
    for name in ("a/none", "b/none", "b/hidden_only"):
        (tmp_path / name).mkdir()
    (tmp_path / "b/hidden_only/.DS_Store").touch()
    ImageFolder(str(tmp_path), 4).load()
    assert f"data.root={tmp_path}: not read: 3 empty folder(s)" in caplog.messages


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("Train", "validation", "TEST"),
        ("Training", "val", "Testing"),
    ],
)
def test_parts_keep_their_images_and_share_trains_numbering(
    tmp_path: Path, names: tuple[str, str, str]
) -> None:
    train, val, test = names
    paint(
        tmp_path,
        {
            f"{train}/a/1.png": 1,
            f"{train}/b/1.png": 2,
            f"{train}/c/1.png": 3,
            f"{val}/c/1.png": 4,
            f"{test}/b/1.png": 5,
            f"{test}/c/1.png": 6,
        },
    )
    assert shades(ImageFolder(str(tmp_path), 4)) == {
        "train": [(1, "a"), (2, "b"), (3, "c")],
        "val": [(4, "c")],
        "test": [(5, "b"), (6, "c")],
    }


def test_train_may_stand_alone(tmp_path: Path) -> None:
    paint(tmp_path, {"train/a/1.png": 1, "train/b/1.png": 2})
    assert shades(ImageFolder(str(tmp_path), 4)) == {"train": [(1, "a"), (2, "b")]}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    paint(tmp_path, {"bus/1.png": 1, "train/1.png": 2})
    assert shades(ImageFolder(str(tmp_path), 4)) == {"all": [(1, "bus"), (2, "train")]}


def test_hidden_folders_and_stray_files_do_not_count_and_nested_files_do(tmp_path: Path) -> None:
    paint(
        tmp_path,
        {
            "a b/x/y/1.png": 1,
            "über 花/2.png": 2,
            ".ipynb_checkpoints/3.png": 3,
            "a b/.hidden/4.png": 4,
            "5.png": 5,
        },
    )
    (tmp_path / "README.txt").write_text("words")
    (tmp_path / "a b/notes.csv").write_text("1,2")
    assert shades(ImageFolder(str(tmp_path), 4)) == {"all": [(1, "a b"), (2, "über 花")]}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/2.png": 2})
    (tmp_path / "a/back").symlink_to(tmp_path)
    assert shades(ImageFolder(str(tmp_path), 4)) == {"all": [(1, "a"), (2, "b")]}
    (tmp_path / "again").symlink_to(tmp_path)
    assert "again: no image found" in refusal(tmp_path)


def test_given_class_names_set_the_order(tmp_path: Path) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/2.png": 2})
    source = ImageFolder(str(tmp_path), 4, class_names=["b", "a"])
    assert [data.labels.tolist() for data in source.load().values()] == [[1, 0]]
    assert shades(source) == {"all": [(1, "a"), (2, "b")]}


def test_images_take_the_size_and_channels_asked_for(tmp_path: Path) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/2.png": 2})
    Image.new("RGB", (9, 5), (200, 0, 0)).save(tmp_path / "a/1.png")
    assert ImageFolder(str(tmp_path), [3, 7]).load()["all"].images[0].unique(dim=-1).unique(
        dim=-2
    ).flatten().tolist() == [200, 0, 0]
    assert ImageFolder(str(tmp_path), [3, 7]).load()["all"].images.shape == (2, 3, 3, 7)
    assert ImageFolder(str(tmp_path), 6, in_channels=1).load()["all"].images.unique().tolist() == [
        2,
        60,
    ]  # 0.299 · 200


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda root: root.rmdir(), "No such file or directory"),
    "a file": (lambda root: (root.rmdir(), root.write_text("x")), "Not a directory"),
    "nothing": (lambda root: None, "no class folder"),
    "only images": (lambda root: paint(root, {"1.png": 1}), "no class folder"),
    "one class": (lambda root: paint(root, {"a/1.png": 1, ".b/1.png": 1}), "only one class folder (a)"),
    "empty class": (
        lambda root: (paint(root, {"a/1.png": 1, "b/1.png": 1}), (root / "hollow").mkdir()),
        "hollow: no image found",
    ),
    "test of empty classes": (
        lambda root: (
            paint(root, {"train/a/1.png": 1, "train/b/1.png": 1}),
            (root / "test/b").mkdir(parents=True),
        ),
        "test/b: no image found",
    ),
    "nothing that is read": (
        lambda root: (
            paint(root, {"a/1.png": 1, "b/1.png": 1}),
            (root / "a/1.png").rename(root / "a/1.jp2"),
        ),
        "a: no image found (not read: 1 .jp2)",
    ),
    "a class in two Unicode forms": (
        lambda root: paint(root, {"caf\u00e9/1.png": 1, "cafe\u0301/1.png": 1}),
        "'cafe\\u0301' and 'caf\\xe9' are one class; put their images into one folder",
    ),
    "another case in test": (
        lambda root: paint(root, {"train/Cat/1.png": 1, "train/b/1.png": 1, "test/cat /1.png": 1}),
        "it has Cat, b ('Cat' and 'cat ' differ in case or blanks; rename one)",
    ),
    "unknown in test": (
        lambda root: paint(root, {"train/a/1.png": 1, "train/b/1.png": 1, "test/zebra/1.png": 1}),
        "zebra",
    ),
    "test without classes": (
        lambda root: paint(root, {"train/a/1.png": 1, "train/b/1.png": 1, "test/1.png": 1}),
        "test: no class folder",
    ),
    "train without classes": (
        lambda root: paint(root, {"train/1.png": 1, "test/1.png": 1}),
        "train: no class folder",
    ),
    "no train": (
        lambda root: paint(root, {"val/a/1.png": 1, "val/b/1.png": 1, "test/a/1.png": 1}),
        "val without train",
    ),
    "two vals": (
        lambda root: paint(
            root, {"train/a/1.png": 1, "train/b/1.png": 1, "val/a/1.png": 1, "valid/a/1.png": 1}
        ),
        "val and valid",
    ),
    "others beside train": (
        lambda root: paint(root, {"train/a/1.png": 1, "train/b/1.png": 1, "extra/a/1.png": 1}),
        "extra beside train",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_layout_is_one_line_that_names_the_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    build, reason = BAD[name]
    build(root)
    message = refusal(root)
    assert reason in message and str(root) in message


def test_a_root_that_may_not_be_read_is_one_line(not_root: None) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0)
        assert f"data.root={folder}: Permission denied" in refusal(Path(folder))
        Path(folder).chmod(0o700)


def test_class_names_that_do_not_fit_the_folders_are_refused_with_both_lists(tmp_path: Path) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/2.png": 2})
    message = refusal(tmp_path, class_names=["a", "x"])
    assert "found the folders a, b" in message and "expected a, x" in message


@pytest.mark.parametrize(
    "settings, key",
    [
        ({"image_size": 0}, "data.stored_size=0"),
        ({"image_size": [8, 8, 8]}, "data.stored_size="),
        ({"image_size": 8, "in_channels": 0}, "data.in_channels=0"),
        ({"image_size": 8, "class_names": ["a", "a"]}, "data.class_names="),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_data_is_touched(
    settings: dict[str, object], key: str
) -> None:
    with pytest.raises(ValueError, match=key):
        ImageFolder("nowhere", **settings)  # pyright: ignore


def test_constructing_touches_no_data_and_class_names_say_what_is_missing() -> None:
    source = ImageFolder("nowhere/at/all", 8)
    with pytest.raises(ValueError, match=r"data\.root=nowhere/at/all: No such file"):
        _ = source.class_names


def damaged(root: Path) -> Path:
    paint(root, {"a/1.png": 1, "a/2.png": 2, "b/3.png": 3, "b/4.png": 4})
    (root / "a/0.png").write_bytes(b"")
    (root / "b/half.png").write_bytes((root / "b/3.png").read_bytes()[:40])
    return root


def test_a_bad_image_ends_the_work_and_the_line_says_how_to_go_on(tmp_path: Path) -> None:
    message = refusal(damaged(tmp_path))
    assert "a/0.png" in message and "the file is empty" in message and "data.on_bad_image=skip" in message


def test_skipped_images_are_left_out_counted_and_listed_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = ImageFolder(str(damaged(tmp_path)), 4, on_bad_image="skip")
    source.prepare()
    for _ in range(2):  # once decoding may have said so, once the store must remember
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert shades(source) == {"all": [(1, "a"), (2, "a"), (3, "b"), (4, "b")]}
        assert [path.relative_to(tmp_path).as_posix() for path, _ in source.skipped] == [
            "a/0.png",
            "b/half.png",
        ]
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith("2 images skipped") and "a/0.png" in line and "b/half.png" in line


def test_skipped_images_are_named_where_they_are_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "before").mkdir()
    ImageFolder(str(damaged(tmp_path / "before")), 4, on_bad_image="skip").prepare()
    (tmp_path / "before").rename(tmp_path / "now")
    ImageFolder(
        str(tmp_path / "now"), 4, on_bad_image="skip"
    ).load()  # from the store: the bytes are the same
    assert str(tmp_path / "now/a/0.png") in caplog.text and "before" not in caplog.text


def test_skipping_once_does_not_hide_bad_images_from_a_later_run_that_does_not_skip(tmp_path: Path) -> None:
    ImageFolder(str(damaged(tmp_path)), 4, on_bad_image="skip").prepare()
    assert "a/0.png" in refusal(tmp_path)


def test_a_class_whose_images_are_all_skipped_is_an_error(tmp_path: Path) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/1.png": 2})
    (tmp_path / "b/1.png").write_bytes(b"")
    assert f"{tmp_path}: class b: none of its images" in refusal(tmp_path, on_bad_image="skip")


def fingerprint(root: Path, image_size: int | list[int] = 4) -> str:
    source = ImageFolder(str(root), image_size)
    return source.fingerprint(source.load())


def test_the_fingerprint_is_that_of_pixels_labels_and_class_names_and_of_nothing_else(tmp_path: Path) -> None:
    files = {"a/1.png": 1, "a/2.png": 2, "b/1.png": 3}
    reference = fingerprint(paint(tmp_path / "first", files))
    Image.new("L", (4, 4), 1).save(
        paint(tmp_path / "moved", files) / "a/1.png", compress_level=0
    )  # other bytes, the same pixels
    assert fingerprint(tmp_path / "moved") == reference
    others = {
        "pixel": {**files, "b/1.png": 4},
        "label": {"a/1.png": 1, "b/0.png": 2, "b/1.png": 3},
        "name": {"a/1.png": 1, "a/2.png": 2, "c/1.png": 3},
        "order": {"a/1.png": 2, "a/2.png": 1, "b/1.png": 3},
        "part": {f"train/{name}": shade for name, shade in files.items()},
    }
    found = {name: fingerprint(paint(tmp_path / name, changed)) for name, changed in others.items()}
    found["shape"] = fingerprint(tmp_path / "first", [2, 8])  # the same bytes in another shape
    assert len({reference, *found.values()}) == 1 + len(found)


def notes(root: Path, caplog: pytest.LogCaptureFixture, **settings: object) -> str:
    """Loads a folder and returns what is said of it."""
    caplog.clear()
    ImageFolder(str(root), 4, **settings).load()  # pyright: ignore
    return "\n".join(record.getMessage() for record in caplog.records)


def test_a_class_without_images_in_val_or_test_is_not_validated_there_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = {f"train/{name}/{number}.png": 10 * number + ord(name) for name in "abc" for number in range(3)}
    paint(tmp_path, train | {"val/a/1.png": 1, "test/a/1.png": 2, "test/b/1.png": 3})
    (tmp_path / "val/b").mkdir()  # and c has no folder at all
    (tmp_path / "test/c").mkdir()
    said = notes(tmp_path, caplog)
    assert (
        "val has no image of b, c; not validated there" in said
        and "test has no image of c; not tested there" in said
    )
    assert shades(ImageFolder(str(tmp_path), 4))["val"] == [(1, "a")]
    (tmp_path / "val/b/bad.png").write_bytes(b"")
    assert "val has no image of b, c" in notes(tmp_path, caplog, on_bad_image="skip")


def test_what_is_not_read_is_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paint(tmp_path, {"train/a/1.png": 1, "train/b/1.png": 2, "beside.png": 3, "train/beside.png": 4})
    assert "not read: 2 image(s) beside the class folders" in notes(tmp_path, caplog)
    for name in (
        "train/a/x.jp2",
        "train/a/deep/y.SVG",
        "train/b/z.svg",
        "train/more.npz",
        "rest.zip",
        "train/b/plain",
        "train/b/Thumbs.db",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (line,) = notes(tmp_path, caplog).splitlines()
    assert (
        all(f"1 {what}" in line for what in (".jp2", ".npz", ".zip", "without a suffix"))
        and "2 .svg" in line
        and ".db" not in line
    )


@pytest.mark.parametrize(
    "name", ["@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information"]
)
def test_a_systems_own_folders_are_no_classes_and_hold_no_images_and_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/1.png": 2, f"{name}/1.png": 3, f"a/{name}/1.png": 4})
    assert f"a system's own folders: {name} (2 times)" in notes(tmp_path, caplog)
    assert shades(ImageFolder(str(tmp_path), 4)) == {"all": [(1, "a"), (2, "b")]}


def test_classes_that_differ_in_case_or_blanks_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paint(tmp_path, {"Cat/1.png": 1, "cat/1.png": 2, "a b/1.png": 3, "a\u00a0b/1.png": 4, "dog/1.png": 5})
    said = notes(tmp_path, caplog)
    assert (
        "'Cat' and 'cat', 'a b' and 'a\\xa0b' differ in case, blanks or letter forms only; each is a class of"
        " its own here" in said
    )
    assert "dog" not in said


def test_a_class_has_one_name_whatever_the_form_of_its_folders_accents(tmp_path: Path) -> None:
    paint(tmp_path, {"train/cafe\u0301/1.png": 1, "train/b/1.png": 2, "test/caf\u00e9/1.png": 3})
    source = ImageFolder(str(tmp_path), 4)
    assert source.class_names == ("b", "caf\u00e9") and shades(source)["test"] == [(3, "caf\u00e9")]
    assert ImageFolder(str(tmp_path), 4, class_names=["cafe\u0301", "b"]).class_names == ("caf\u00e9", "b")


def test_a_folders_name_that_is_no_utf_8_becomes_a_class_name_that_can_be_written(tmp_path: Path) -> None:
    paint(tmp_path, {"caf\udce9/1.png": 1, "b/\udce9.png": 2})
    assert ImageFolder(str(tmp_path), 4).class_names == ("b", "caf\\xe9")
    assert shades(ImageFolder(str(tmp_path), 4)) == {"all": [(2, "b"), (1, "caf\\xe9")]}


def test_one_file_under_two_classes_is_said_with_an_example(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paint(tmp_path, {"a/0.png": 7, "a/1.png": 7, "a/2.png": 8, "b/3.png": 9, "b/4.png": 7})
    (tmp_path / "a/00.png").write_bytes(b"")  # what is skipped must not shift the names
    assert "1 file(s) lie under two classes, such as a/1.png and b/4.png" in notes(
        tmp_path, caplog, on_bad_image="skip"
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bit_pictures_are_read_by_the_range_of_their_whole_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bits: int
) -> None:
    white = 2**bits - 1
    values = {
        "train/a/1.png": white,
        "train/b/1.png": white // 9,
        "train/b/2.png": 0,
        "val/a/1.png": white // 2,
        "test/b/1.png": white // 3,
    }
    for name, value in values.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / name)
    source = ImageFolder(str(tmp_path), 4)
    for _ in range(2):  # the second time from the cache
        found = {
            part: [image[0, 0, 0].item() for image in data.images] for part, data in source.load().items()
        }
        assert found == {"train": [255, round(white // 9 * 255 / white), 0], "val": [127], "test": [85]}
        assert source.white == white
        source = ImageFolder(str(tmp_path), 4)
    assert (
        f"16-bit pictures whose values end at {white}: taken for values of {bits} bits" in caplog.text
    ) == (bits < 16)
    alone = read_image(tmp_path / "test/b/1.png", 4, 1, reading=Reading(white))
    assert alone.max() == 85
    if bits < 16:
        Image.fromarray(np.full((4, 4), white + 1, np.uint16)).save(tmp_path / "brighter.png")
        with pytest.raises(ValueError, match=f"its values go up to {white + 1:,}, where white is {white:,}"):
            read_image(tmp_path / "brighter.png", 4, 1, reading=Reading(white))


def test_narrow_pictures_among_a_few_bright_ones_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(6):
        pixels = np.full((4, 4), 1000, np.uint16)
        pixels[0, 0] = 65535 if index == 0 else 1100  # a saturated pixel hides the range of all others
        (tmp_path / "ab"[index % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "ab"[index % 2] / f"{index}.png")
    assert "5 of 6 pictures of 16 bits end at 16,383 or below and keep few levels" in notes(tmp_path, caplog)


def test_a_picture_above_the_limit_names_the_option_that_reads_it(tmp_path: Path) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/1.png": 2})
    Image.new("1", (1200, 1000)).save(tmp_path / "a/1.png")
    assert "1,200,000 pixels are more than 1 million; data.max_megapixels=2 would read it" in refusal(
        tmp_path, max_megapixels=1
    )
    assert shades(ImageFolder(str(tmp_path), 4, max_megapixels=2)) == {"all": [(0, "a"), (2, "b")]}


def test_pictures_whose_transparency_may_be_another_band_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paint(tmp_path, {"a/1.png": 1, "b/1.png": 2})
    assert "translucent" not in notes(tmp_path, caplog)
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a/2.png")
    noise[..., 3] = np.where(noise[..., 3] < 200, 255, 7)  # a picture with soft edges
    Image.fromarray(noise).save(tmp_path / "b/2.png")
    for _ in range(2):  # the second time from the cache
        assert "1 picture(s) are translucent in most places and laid on white" in notes(tmp_path, caplog)
