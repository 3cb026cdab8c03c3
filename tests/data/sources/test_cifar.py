"""CIFAR is read as torchvision reads it, and a stranger's files can be wrong or evil without doing harm."""

import codecs
import hashlib
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets

from vitlab.data.sources.cifar import CIFAR, CIFAR10_CLASSES

TORCHVISION = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}
LABELS = {10: "labels", 100: "fine_labels"}


def python_2_pickle(batch: dict[str, Any]) -> bytes:
    """Writes a batch as Python 2 did for the originals: protocol 2, byte strings for text, and numpy's old
    module name."""

    def write(value: Any) -> bytes:
        if isinstance(value, str):
            return b"U" + bytes([len(value)]) + value.encode()
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        if isinstance(value, list):
            return b"](" + b"".join(map(write, value)) + b"e"
        data = value.tobytes()
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
            + write(0)
            + b"\x85"
            + write("b")
            + b"tR"
        )
        dtype = (
            b"cnumpy\ndtype\n("
            + write("u1")
            + write(0)
            + write(1)
            + b"tR("
            + write(3)
            + write("|")
            + b"NNN"
            + write(-1) * 2
            + write(0)
            + b"tb"
        )
        shape = b"".join(map(write, value.shape)) + b"\x86"
        return (
            array + b"(" + write(1) + shape + dtype + b"\x89T" + struct.pack("<i", len(data)) + data + b"tb"
        )

    return b"\x80\x02}(" + b"".join(write(key) + write(value) for key, value in batch.items()) + b"u."


def modern_pickle(batch: dict[str, Any]) -> bytes:
    return pickle.dumps(batch, protocol=4)


def write_set(root: Path, num_classes: int, dump=modern_pickle) -> None:
    """Writes seven random images a file in torchvision's layout."""
    original = TORCHVISION[num_classes]
    folder = root / original.base_folder
    folder.mkdir(parents=True)
    random = np.random.default_rng(num_classes)
    for name, _ in original.train_list + original.test_list:
        batch = {"batch_label": name, "data": random.integers(0, 256, (7, 3072), dtype=np.uint8)}
        batch |= {"coarse_labels": [0] * 7, LABELS[num_classes]: random.integers(0, num_classes, 7).tolist()}
        (folder / name).write_bytes(dump(batch))
    names = [f"class {number}" for number in range(num_classes)]
    (folder / original.meta["filename"]).write_bytes(dump({original.meta["key"]: names}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_set(tmp_path, 10)
    return tmp_path


def own_md5s(root: Path, num_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the files of `root` the originals, for torchvision and for us."""
    original = TORCHVISION[num_classes]

    def md5(name: str) -> str:
        return hashlib.md5((root / original.base_folder / name).read_bytes()).hexdigest()

    for files in ("train_list", "test_list"):
        monkeypatch.setattr(original, files, [[name, md5(name)] for name, _ in getattr(original, files)])
    monkeypatch.setattr(original, "meta", {**original.meta, "md5": md5(original.meta["filename"])})


@pytest.mark.parametrize("num_classes", [10, 100])
@pytest.mark.parametrize("dump", [modern_pickle, python_2_pickle])
# torchvision's own unpickling meets numpy's warning about the module name in the originals
@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
def test_images_labels_and_names_are_those_that_torchvision_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_classes: int, dump
) -> None:
    write_set(tmp_path, num_classes, dump)
    own_md5s(tmp_path, num_classes, monkeypatch)
    source = CIFAR(str(tmp_path), num_classes)  # pyright: ignore
    parts = source.load()
    for part, train in (("train", True), ("test", False)):
        theirs = TORCHVISION[num_classes](tmp_path, train=train)
        assert (parts[part].images.permute(0, 2, 3, 1).numpy() == theirs.data).all()
        assert parts[part].labels.tolist() == theirs.targets
        assert list(source.class_names) == theirs.classes


def refusal(source: CIFAR) -> str:
    with pytest.raises(ValueError) as caught:
        source.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_changed_files_are_refused_by_name_and_the_line_says_how_to_accept_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_md5s(root, 10, monkeypatch)
    CIFAR(str(root), 10).load()
    path = root / "cifar-10-batches-py/data_batch_3"
    path.write_bytes(path.read_bytes().replace(b"data_batch_3", b"data_batch_X"))
    message = refusal(CIFAR(str(root), 10))
    assert str(path) in message and "data.verify=false" in message
    assert len(CIFAR(str(root), 10, verify=False).load()["train"].labels) == 35


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any):
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def evil(marker: Path, protocol: int = 4) -> dict[str, bytes]:
    """Batches that make the file `marker` while they are read, each by other means."""
    calls = {
        "os.system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, f"open({str(marker)!r}, 'w').close()"),
        "mkdir": Calls(os.mkdir, str(marker)),
        "pathlib": Calls(Path.touch, marker),
        "numpy": Calls(np.save, str(marker), np.zeros(1)),
    }
    batches = {name: pickle.dumps({"data": call, "labels": []}, protocol) for name, call in calls.items()}
    return batches | {
        "getattr": f"c__builtin__\ngetattr\n(cposix\nmkdir\nS'__call__'\ntR(S'{marker}'\ntR.".encode()
    }


@pytest.mark.parametrize("name", evil(Path()))
@pytest.mark.parametrize("protocol", [2, 4])
def test_an_evil_batch_is_refused_in_one_line_and_not_executed(
    root: Path, tmp_path: Path, name: str, protocol: int
) -> None:
    path, marker = root / "cifar-10-batches-py/data_batch_1", tmp_path / "marker"
    path.write_bytes(evil(marker, protocol)[name])
    message = refusal(CIFAR(str(root), 10, verify=False))
    assert str(path) in message and "which no CIFAR file needs" in message
    assert not list(tmp_path.glob("marker*"))


@pytest.mark.parametrize("name", evil(Path()))
def test_the_evil_batches_above_do_execute_where_nobody_is_careful(tmp_path: Path, name: str) -> None:
    pickle.loads(evil(tmp_path / "marker")[name])
    assert list(tmp_path.glob("marker*"))


def test_text_in_an_unusual_encoding_is_refused_because_a_codec_is_code(root: Path) -> None:
    (root / "cifar-10-batches-py/data_batch_1").write_bytes(
        pickle.dumps({"data": Calls(codecs.encode, "x", "idna")}, protocol=4)
    )
    assert "text encoded as idna" in refusal(CIFAR(str(root), 10, verify=False))


def with_batch(root: Path, **changes: Any) -> str:
    batch = {"data": np.zeros((7, 3072), np.uint8), "labels": [0] * 7} | changes
    (root / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps(batch, protocol=4))
    return refusal(CIFAR(str(root), 10, verify=False))


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"labels": [0] * 6}, "one label each"),
        ({"labels": None}, "one label each"),
        ({"labels": [0] * 6 + [10]}, "labels other than 0 to 9"),
        ({"labels": [0] * 6 + [-1]}, "labels other than 0 to 9"),
        ({"labels": [0] * 6 + ["cat"]}, "labels other than 0 to 9"),
        ({"data": np.zeros((7, 3071), np.uint8)}, "3 × 32 × 32"),
        ({"data": [0] * 7}, "3 × 32 × 32"),
        ({"data": np.zeros((7, 3072), np.float32)}, "f4 instead of u1"),
        ({"data": np.array([None] * 7)}, "O8 instead of u1"),
        ({"data": np.asfortranarray(np.zeros((7, 3072), np.uint8))}, "instead of u1"),
    ],
)
def test_a_batch_of_something_else_is_one_line_that_names_the_file(
    root: Path, changes: dict[str, Any], reason: str
) -> None:
    message = with_batch(root, **changes)
    assert reason in message and "test_batch" in message


def test_an_array_that_states_more_pixels_than_it_has_is_refused(root: Path) -> None:
    path = root / "cifar-10-batches-py/test_batch"
    content = python_2_pickle({"data": np.zeros((7, 3072), np.uint8), "labels": [0] * 7})
    path.write_bytes(
        content.replace(
            struct.pack("<i", 7) + b"J" + struct.pack("<i", 3072),
            struct.pack("<i", 2**30) + b"J" + struct.pack("<i", 3072),
        )
    )
    assert "cannot reshape" in refusal(CIFAR(str(root), 10, verify=False))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\x80\x04.", pickle.dumps([1, 2]), pickle.dumps({"data": 1})[:-5], bytes(range(256))],
)
def test_files_that_are_no_batch_are_one_line(root: Path, content: bytes) -> None:
    (root / "cifar-10-batches-py/data_batch_2").write_bytes(content)
    assert "data_batch_2: not a CIFAR file" in refusal(CIFAR(str(root), 10, verify=False))


def test_missing_files_are_named_with_both_ways_out(root: Path, tmp_path: Path) -> None:
    (root / "cifar-10-batches-py/data_batch_5").unlink()
    message = refusal(CIFAR(str(root), 10, verify=False))
    assert "data_batch_5" in message and "data.root" in message and "data.download=true" in message
    assert "cifar-100-python" in refusal(CIFAR(str(tmp_path), 100))


def test_cifar_10_knows_its_names_without_the_file_and_cifar_100_asks_for_it(
    root: Path, tmp_path: Path
) -> None:
    assert CIFAR(str(root), 10, verify=False).class_names == tuple(f"class {number}" for number in range(10))
    (root / "cifar-10-batches-py/batches.meta").unlink()
    assert CIFAR(str(root), 10).class_names == CIFAR10_CLASSES
    with pytest.raises(ValueError, match="cifar-100-python/meta"):
        _ = CIFAR(str(tmp_path), 100).class_names


def test_the_fingerprint_changes_with_one_pixel(root: Path) -> None:
    def fingerprint() -> str:
        source = CIFAR(str(root), 10, verify=False)
        return source.fingerprint(source.load())

    before = fingerprint()
    assert fingerprint() == before
    path = root / "cifar-10-batches-py/data_batch_4"
    batch = pickle.loads(path.read_bytes())
    batch["data"][3, 1000] ^= 1
    path.write_bytes(pickle.dumps(batch, protocol=4))
    assert fingerprint() != before
