"""The five flowers are found however the two archives name and wrap them, and nothing else passes for
them."""

from pathlib import Path

import pytest
from PIL import Image

from vitlab.data.sources.flowers import CLASSES, Flowers

PUBLIC = ("daisy", "dandelion", "roses", "sunflowers", "tulips")  # as TensorFlow's archive names the folders


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def plant(folder: Path, names: tuple[str, ...]) -> None:
    """Makes one image a class, its shade the number of the class."""
    for shade, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        Image.new("L", (4, 4), shade).save(folder / name / "1.png")


def refusal(root: Path) -> str:
    with pytest.raises(ValueError) as caught:
        Flowers(str(root), 4).prepare()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("names", [CLASSES, PUBLIC])
@pytest.mark.parametrize("inner", ["", "flower_photos", "flowers"])
def test_both_archives_give_the_same_classes_in_the_same_order(
    tmp_path: Path, names: tuple[str, ...], inner: str
) -> None:
    plant(tmp_path / inner, names)
    source = Flowers(str(tmp_path), 4)
    data = source.load()["all"]
    assert source.class_names == ("daisy", "dandelion", "rose", "sunflower", "tulip")
    assert data.images[:, 0, 0, 0].tolist() == data.labels.tolist() == [0, 1, 2, 3, 4]


def test_parts_are_kept(tmp_path: Path) -> None:
    plant(tmp_path / "train", PUBLIC)
    plant(tmp_path / "test", CLASSES)
    assert {part: data.labels.tolist() for part, data in Flowers(str(tmp_path), 4).load().items()} == {
        "train": [0, 1, 2, 3, 4],
        "test": [0, 1, 2, 3, 4],
    }


@pytest.mark.parametrize(
    "make",
    [lambda root: None, lambda root: root.mkdir(), lambda root: (root.mkdir(), (root / "notes.txt").touch())],
)
def test_where_there_is_nothing_the_line_names_both_ways_out(tmp_path: Path, make) -> None:
    make(tmp_path / "root")
    message = refusal(tmp_path / "root")
    assert f"data.root={tmp_path / 'root'}" in message and "data.download=true" in message


def test_other_classes_are_refused_with_those_found_and_those_expected(tmp_path: Path) -> None:
    plant(tmp_path, ("daisy", "cat", "dog"))
    message = refusal(tmp_path)
    assert (
        "found the folders cat, daisy, dog" in message
        and "expected daisy, dandelion, rose, sunflower, tulip" in message
    )


def test_a_class_under_two_names_is_refused(tmp_path: Path) -> None:
    plant(tmp_path, (*CLASSES, "roses"))
    assert "rose and roses are one class" in refusal(tmp_path)
