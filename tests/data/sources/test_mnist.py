"""MNIST's files give the digits that are in them, or one line says what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest

from vitlab.data.sources.mnist import FILES, MNIST


def idx(array: np.ndarray) -> bytes:
    """Packs uint8 as LeCun's format does: a magic number, the sizes in big-endian order, the bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        if "images" in name
        else random.integers(0, 10, count, dtype=np.uint8)
        for name, count in zip(FILES, (9, 9, 5, 5), strict=True)
    }


@pytest.fixture
def root(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    for name, array in arrays.items():
        (tmp_path / "MNIST/raw" / name).write_bytes(idx(array))
    return tmp_path


def test_parts_hold_the_digits_of_their_files(root: Path, arrays: dict[str, np.ndarray]) -> None:
    source = MNIST(str(root))
    for part, images, labels in (("train", FILES[0], FILES[1]), ("test", FILES[2], FILES[3])):
        data = source.load()[part]
        assert (data.images[:, 0].numpy() == arrays[images]).all()
        assert [source.class_names[label] for label in data.labels] == [
            str(label) for label in arrays[labels]
        ]


def refusal(root: Path) -> str:
    with pytest.raises(ValueError) as caught:
        MNIST(str(root)).load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_both_ways_out(root: Path, name: str) -> None:
    (root / "MNIST/raw" / name).unlink()
    message = refusal(root)
    assert f"data.root={root}: no {name} in" in message and "data.download=true" in message


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"<html>not found</html>",
        lambda raw: b"\0" * len(raw),
    ],
)
def test_a_damaged_file_is_one_line(root: Path, name: str, damage) -> None:
    path = root / "MNIST/raw" / name
    path.write_bytes(damage(path.read_bytes()))
    assert str(root / "MNIST/raw") in refusal(root)


def test_images_that_do_not_fit_their_labels_are_refused(root: Path, arrays: dict[str, np.ndarray]) -> None:
    path = root / "MNIST/raw" / FILES[3]
    for labels in (arrays[FILES[3]][:-1], np.array([1, 2, 3, 4, 10], np.uint8)):
        path.write_bytes(idx(labels))
        assert "are not MNIST" in refusal(root)


def test_the_fingerprint_changes_with_one_label(root: Path, arrays: dict[str, np.ndarray]) -> None:
    def fingerprint() -> str:
        source = MNIST(str(root))
        return source.fingerprint(source.load())

    before = fingerprint()
    assert fingerprint() == before
    labels = arrays[FILES[1]].copy()
    labels[4] = (labels[4] + 1) % 10
    (root / "MNIST/raw" / FILES[1]).write_bytes(idx(labels))
    assert fingerprint() != before
