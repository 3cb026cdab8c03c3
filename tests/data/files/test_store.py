"""The store gives back what was decoded, only for the bytes it was decoded from, and never a part of it."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vitlab.data.files import store, whole_folder
from vitlab.data.files.store import Decoding, cache_root, open_store, store_key

GREY = Decoding((4, 4), 1, "error")


def make_files(folder: Path) -> list[Path]:
    """Writes twelve 4 × 4 images of noise."""
    folder.mkdir()
    random = np.random.default_rng(0)
    paths = [folder / f"{number:02}.png" for number in range(12)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (4, 4), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return make_files(tmp_path / "images")


def pixels(files: list[Path]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file))[None] for file in files])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What killed.py finds, by mode: it takes seconds to start, so it does all in one go."""
    folder = tmp_path_factory.mktemp("killed")
    make_files(folder / "images")
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), "everywhere,together,full", "store", str(folder / "images"), str(folder / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_images_and_labels_come_back_and_any_rows_can_be_gathered(files: list[Path], tmp_path: Path) -> None:
    data = open_store(files, list(range(12)), GREY, str(tmp_path / "cache")).data
    rows = torch.tensor([7, 0, 11, 7])
    assert (data.images[rows].numpy() == pixels(files)[rows]).all() and data.labels[rows].tolist() == rows.tolist()
    assert data.images.dtype == torch.uint8 and data.labels.dtype == torch.int64


def test_the_images_stay_in_the_file_and_out_of_memory(files: list[Path], tmp_path: Path) -> None:
    data = open_store(files, [0] * 12, GREY, str(tmp_path / "cache")).data
    address = data.images.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            assert line.endswith("images.npy") and line.split()[1].startswith("r--")
            return
    raise AssertionError("the images lie in no mapping")


def test_a_second_opening_uses_what_the_first_one_wrote(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = open_store(files, [0] * 12, GREY, str(cache))
    (folder,) = cache.iterdir()
    written = (folder / "images.npy").stat()
    second = open_store(files, [0] * 12, GREY, str(cache))
    assert list(cache.iterdir()) == [folder] and (folder / "images.npy").stat().st_ino == written.st_ino
    assert torch.equal(first.data.images, second.data.images) and first.content == second.content


def test_the_key_depends_on_bytes_order_labels_and_decoding_and_not_on_names_or_times(files: list[Path], tmp_path: Path) -> None:
    labels = [0, 1] * 6
    reference = store_key(files, labels, GREY)
    others = {
        store_key(files[::-1], labels, GREY),
        store_key(files[:-1], labels[:-1], GREY),
        store_key(files, labels[::-1], GREY),
        store_key(files, labels, GREY._replace(size=(4, 5))),
        store_key(files, labels, GREY._replace(channels=3)),
        store_key(files, labels, GREY._replace(on_bad_image="skip")),
        store_key(files, labels, GREY._replace(interpolation="bilinear")),
    }
    assert len(others) == 7 and reference not in others
    renamed = [file.rename(tmp_path / f"other {file.name}") for file in files]
    os.utime(renamed[0], (1, 1))
    assert store_key(renamed, labels, GREY) == reference
    content, times = bytearray(renamed[0].read_bytes()), renamed[0].stat()
    content[-20] ^= 1
    renamed[0].write_bytes(content)  # the same size and, below, the same time: only the bytes tell
    os.utime(renamed[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert store_key(renamed, labels, GREY) != reference


def test_a_kill_before_any_file_operation_never_leaves_a_half_store_that_counts(killed: dict[str, Any]) -> None:
    found = killed["everywhere"]
    assert found["wrong"] == [] and found["last_exit"] == 0
    assert found["kills"] > 30  # each image is opened twice, and there is more to do


def test_processes_that_decode_the_same_at_the_same_time_all_succeed(killed: dict[str, Any]) -> None:
    found = killed["together"]
    assert found["exits"] == [0] * 4 and found["right"] is True
    assert len(found["left"]) == 1  # the store; nobody's unfinished work


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(killed: dict[str, Any]) -> None:
    found = killed["full"]
    assert found["left"] == []
    assert found["message"].startswith("data.cache_dir=") and "cannot be written (File too large)" in found["message"]
    assert "\n" not in found["message"]


def test_a_cache_folder_that_cannot_be_made_is_one_line_that_names_the_setting(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError) as caught:
        open_store(files, [0] * 12, GREY, str(tmp_path / "file" / "cache"))
    assert str(caught.value).startswith(f"data.cache_dir={tmp_path / 'file/cache'}: cannot be written") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, keep", [("images.npy", 200), ("images.npy", 0), ("labels.npy", 50), ("meta.json", 30), ("meta.json", 0), ("labels.npy", -1)]
)
def test_a_damaged_store_is_noticed_and_made_again(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, keep: int
) -> None:
    cache = tmp_path / "cache"
    open_store(files, [0] * 12, GREY, str(cache))
    damaged = next(cache.iterdir()) / name
    if keep < 0:
        damaged.unlink()
    else:
        os.truncate(damaged, keep)
    with caplog.at_level(logging.WARNING):
        again = open_store(files, [0] * 12, GREY, str(cache))
    assert "damaged store" in caplog.text
    assert (again.data.images.numpy() == pixels(files)).all() and again.data.labels.tolist() == [0] * 12


def test_a_store_whose_labels_are_not_those_of_its_images_is_made_again(files: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_store(files, list(range(12)), GREY, str(cache))
    np.save(next(cache.iterdir()) / "labels.npy", np.zeros(11, np.int64))
    assert open_store(files, list(range(12)), GREY, str(cache)).data.labels.tolist() == list(range(12))


def test_unfinished_work_is_removed_after_a_day_and_not_before(tmp_path: Path) -> None:
    old, fresh, growing = (tmp_path / f".x.part-{number}-0123abcd" for number in (1, 2, 3))
    for folder in (old, fresh, growing):
        folder.mkdir()
        (folder / "images.npy").touch()
    two_days_ago = time.time() - 2 * 24 * 3600
    for path in (old / "images.npy", old, growing):
        os.utime(path, (two_days_ago, two_days_ago))
    whole_folder.remove_stale_parts(tmp_path)
    assert sorted(tmp_path.iterdir()) == [fresh, growing]  # in the third a file has changed today


def test_long_work_reports_how_far_it_is(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PROGRESS_SECONDS", -1.0)
    with caplog.at_level(logging.INFO):
        open_store(files, [0] * 12, GREY, str(tmp_path / "cache"))
    assert "hashing images: 12 of 12 (100 %)" in caplog.text and "decoding images: 6 of 12 (50 %)" in caplog.text


def test_order_holds_over_more_images_than_the_threads_get_at_once(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHUNK", 5)
    data = open_store(files, list(range(12)), GREY, str(tmp_path / "cache")).data
    assert (data.images.numpy() == pixels(files)).all() and data.labels.tolist() == list(range(12))


def test_the_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root(None) == tmp_path / "home/.cache/vitlab"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root(None) == tmp_path / "xdg/vitlab"
    assert cache_root("~/mine") == tmp_path / "home/mine"
