"""The store gives back what was decoded, only for the bytes it was decoded from, and never a part of it."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from vitlab.data.files import decode, decoded, growing
from vitlab.data.files.store import Decoding, cache_root, open_store, store_key
from vitlab.data.fingerprint import hash_images
from vitlab.files import atomic, digests, lock, threads

GREY = Decoding((4, 4), 1, "error")


def make_files(folder: Path, count: int = 12) -> list[Path]:
    """Writes 4 × 4 images of noise."""
    folder.mkdir()
    random = np.random.default_rng(0)
    paths = [folder / f"{number:02}.png" for number in range(count)]
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
    make_files(folder / "images", 5)
    script = Path(__file__).with_name("killed.py")
    command = [
        sys.executable,
        str(script),
        "everywhere,together,full",
        "store",
        str(folder / "images"),
        str(folder / "cache"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_images_that_were_written_to_are_hashed_again_and_a_kept_hash_says_when_it_was_computed(
    files, tmp_path, caplog
):
    cache = tmp_path / "cache"
    before = open_store(files, [0] * 12, GREY, str(cache))
    assert open_store(files, [0] * 12, GREY, str(cache)).hashed == before.hashed
    (stored,) = cache.glob("*/images.npy")
    content = bytearray(stored.read_bytes())
    facts = stored.stat()
    content[-1] ^= 4
    stored.write_bytes(content)
    os.utime(
        stored, ns=(facts.st_atime_ns, facts.st_mtime_ns)
    )  # which hides it from who looks at that time alone
    with caplog.at_level(logging.WARNING):
        after = open_store(files, [0] * 12, GREY, str(cache))
    assert "its images or labels are not those that were written" in caplog.text
    assert after.content == before.content and (after.data.images.numpy() == pixels(files)).all()
    shutil.copytree(cache, tmp_path / "copy")  # other times and inodes, the same content
    caplog.clear()
    assert (
        open_store(files, [0] * 12, GREY, str(tmp_path / "copy")).content == before.content
        and not caplog.text
    )


def test_images_and_labels_come_back_and_any_rows_can_be_gathered(files: list[Path], tmp_path: Path) -> None:
    data = open_store(files, list(range(12)), GREY, str(tmp_path / "cache")).data
    rows = torch.tensor([7, 0, 11, 7])
    assert (data.images[rows].numpy() == pixels(files)[rows]).all() and data.labels[
        rows
    ].tolist() == rows.tolist()
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


def test_the_key_depends_on_bytes_order_labels_and_decoding_and_not_on_names_or_times(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, cache = [0, 1] * 6, tmp_path / "cache"

    def key(files: list[Path], labels: list[int], decoding: Decoding) -> str:
        return store_key(digests.digests_of(files, cache), labels, decoding)

    reference = key(files, labels, GREY)
    others = {
        key(files[::-1], labels, GREY),
        key(files[:-1], labels[:-1], GREY),
        key(files, labels[::-1], GREY),
        key(files, labels, GREY._replace(size=(4, 5))),
        key(files, labels, GREY._replace(channels=3)),
        key(files, labels, GREY._replace(on_bad_image="skip")),
        key(files, labels, GREY._replace(interpolation="bilinear")),
    }
    for library in (PIL, torch):  # both resize
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "0.0")
            others.add(key(files, labels, GREY))
    assert len(others) == 9 and reference not in others
    renamed = [file.rename(tmp_path / f"other {file.name}") for file in files]
    os.utime(renamed[0], (1, 1))
    assert key(renamed, labels, GREY) == reference
    content, times = bytearray(renamed[0].read_bytes()), renamed[0].stat()
    content[-20] ^= 1
    renamed[0].write_bytes(content)  # the same size and, below, the same time: only the bytes tell
    os.utime(renamed[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert key(renamed, labels, GREY) != reference


def test_a_kill_before_any_file_operation_never_leaves_a_half_store_that_counts(
    killed: dict[str, Any],
) -> None:
    found = killed["everywhere"]
    assert found["wrong"] == [] and found["last_exit"] == 0
    assert found["kills"] > 30  # each image is opened twice, and there is more to do


def test_an_interrupted_store_goes_on_where_it_was_and_holds_the_same(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    files[2].write_text("<html>")
    skipping, cache = GREY._replace(on_bad_image="skip"), str(tmp_path / "cache")
    whole = open_store(files, list(range(12)), skipping, str(tmp_path / "other"))
    monkeypatch.setattr(growing, "SAVED_SECONDS", -1.0)

    def interrupted(file: Path, *decoding: Any) -> tuple[np.ndarray, decode.SetFacts]:
        if file == files[7]:
            raise KeyboardInterrupt
        return decode.read_with_facts(file, *decoding)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(decoded, "read_with_facts", interrupted)
        open_store(files, list(range(12)), skipping, cache)
    with caplog.at_level(logging.INFO):
        again = open_store(files, list(range(12)), skipping, cache)
    assert "decoding goes on at 7 of 12 images" in caplog.text
    assert torch.equal(again.data.images, whole.data.images) and torch.equal(
        again.data.labels, whole.data.labels
    )
    assert (again.content, again.skipped) == (whole.content, whole.skipped) and len(whole.skipped) == 1
    assert again.content == hash_images(again.data.images.numpy(), again.data.labels.numpy())


def test_images_that_would_not_fit_on_the_disk_are_refused_before_any_is_decoded(
    files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"12 images of 1000000 x 1000000 px take 36,000.0 GB there, and [\d,.]+ GB are free; name a"
            r" folder"
        ),
    ):
        open_store(files, [0] * 12, Decoding((1_000_000, 1_000_000), 3, "error"), str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


def test_a_large_sets_hashes_are_remembered_until_a_file_changes(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = digests.digests_of(files, tmp_path)
    assert not (tmp_path / "digests").exists()
    monkeypatch.setattr(digests, "REMEMBERED_BYTES", 1)
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**12))  # the files were written just now
    monkeypatch.setattr(threads, "PROGRESS_SECONDS", -1.0)
    assert digests.digests_of(files, tmp_path) == plain
    content, times = bytearray(files[3].read_bytes()), files[3].stat()
    content[-20] ^= 1
    files[3].write_bytes(content)
    os.utime(files[3], ns=(times.st_atime_ns, times.st_mtime_ns))
    with caplog.at_level(logging.INFO):
        again = digests.digests_of(files, tmp_path)
    assert "hashing images: 1 of 1 (100 %)" in caplog.text  # the others were not read
    assert [index for index in range(12) if again[index] != plain[index]] == [3]


@pytest.mark.parametrize(
    "damage", ["not an archive", "cut off", "a byte changed", "a file in the folder's place"]
)
def test_remembered_hashes_that_are_damaged_or_cannot_be_kept_are_computed_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(digests, "REMEMBERED_BYTES", 1)
    plain = digests.digests_of(files, tmp_path)
    (memory,) = (tmp_path / "digests").iterdir()
    content = memory.read_bytes()
    if damage == "a file in the folder's place":
        memory.unlink()
        memory.parent.rmdir()
        memory.parent.touch()
    else:
        cut, changed = content[: len(content) // 2], bytearray(content)
        changed[content.index(plain[0])] ^= 1
        memory.write_bytes(
            {"not an archive": b"PK damaged", "cut off": cut, "a byte changed": bytes(changed)}[damage]
        )
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**12))  # what is remembered would be used
    assert digests.digests_of(files, tmp_path) == plain


def test_processes_that_decode_the_same_at_the_same_time_all_succeed(killed: dict[str, Any]) -> None:
    found = killed["together"]
    assert found["exits"] == [0] * 4 and found["right"] is True
    assert len(found["left"]) == 1  # the store; nobody's unfinished work


def test_who_waits_for_another_process_says_so_and_then_holds_the_place_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = []

    def wait() -> None:
        with lock.only_one(tmp_path / "set") as is_alone:
            order.append(is_alone)

    waiting = threading.Thread(target=wait)
    with (
        caplog.at_level(logging.INFO),
        lock.only_one(tmp_path / "set"),
    ):  # two open files exclude each other in one process too
        waiting.start()
        while "another process is making it; waiting" not in caplog.text:
            assert waiting.is_alive() and not order
        order.append("first")
    waiting.join()
    assert order == ["first", True] and not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(killed: dict[str, Any]) -> None:
    found = killed["full"]
    assert found["left"] == []
    assert (
        found["message"].startswith("data.cache_dir=")
        and "cannot be written (File too large)" in found["message"]
    )
    assert "\n" not in found["message"]


def test_a_cache_folder_that_cannot_be_made_is_one_line_that_names_the_setting(
    files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError) as caught:
        open_store(files, [0] * 12, GREY, str(tmp_path / "file" / "cache"))
    assert str(caught.value).startswith(
        f"data.cache_dir={tmp_path / 'file/cache'}: cannot be written"
    ) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, keep",
    [
        ("images.npy", 200),
        ("images.npy", 0),
        ("labels.npy", 50),
        ("meta.json", 30),
        ("meta.json", 0),
        ("labels.npy", -1),
    ],
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


def test_a_store_whose_labels_are_not_those_of_its_images_is_made_again(
    files: list[Path], tmp_path: Path
) -> None:
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
    atomic.remove_parts(tmp_path, atomic.STALE_SECONDS)
    assert sorted(tmp_path.iterdir()) == [fresh, growing]  # in the third a file has changed today


def test_long_work_reports_how_far_it_is(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "PROGRESS_SECONDS", -1.0)
    with caplog.at_level(logging.INFO):
        open_store(files, [0] * 12, GREY, str(tmp_path / "cache"))
    assert (
        "hashing images: 12 of 12 (100 %)" in caplog.text and "decoding images: 6 of 12 (50 %)" in caplog.text
    )


def test_order_holds_over_more_images_than_the_threads_get_at_once(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "AHEAD", 5)
    data = open_store(files, list(range(12)), GREY, str(tmp_path / "cache")).data
    assert (data.images.numpy() == pixels(files)).all() and data.labels.tolist() == list(range(12))


def test_the_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root(None) == tmp_path / "home/.cache/vitlab"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root(None) == tmp_path / "xdg/vitlab"
    assert cache_root("~/mine") == tmp_path / "home/mine"


def test_a_user_without_a_home_is_told_which_setting_would_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # the system knows a number alone
    with pytest.raises(
        ValueError, match=r"data\.cache_dir: this user has no home folder .* data\.cache_dir=DIR would work"
    ):
        cache_root(None)
    with pytest.raises(ValueError, match=r"data\.cache_dir=~/x: there is no such home folder"):
        cache_root("~/x")
