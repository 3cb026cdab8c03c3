"""A checkpoint file is whole or not there, through kills and full disks, and a changed bit is found."""

import os
import resource
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

from vitlab.files.atomic import NotWritten, remove_parts
from vitlab.files.sealed import is_sealed, write_sealed

CONTENT = {"weights": torch.arange(50_000.0), "step": 7}


def write(path, content=CONTENT, **options):
    write_sealed(path, lambda file: torch.save(content, file), **options)


def test_the_seal_travels_in_the_file_and_every_reader_skips_it(tmp_path):
    write(tmp_path / "here.ckpt")
    shutil.move(tmp_path / "here.ckpt", tmp_path / "there.ckpt")
    there = tmp_path / "there.ckpt"
    assert is_sealed(there)
    for options in ({}, {"mmap": True}):
        assert torch.equal(torch.load(there, weights_only=True, **options)["weights"], CONTENT["weights"])
    with zipfile.ZipFile(there) as archive:
        assert archive.testzip() is None
    torch.save(CONTENT, tmp_path / "others.ckpt")
    assert not is_sealed(tmp_path / "others.ckpt")


def test_a_changed_bit_anywhere_in_the_file_is_found(tmp_path):
    write(tmp_path / "a.ckpt", {"weights": torch.arange(64.0)})
    content = (tmp_path / "a.ckpt").read_bytes()
    for place in range(0, len(content), 7):
        (tmp_path / "b.ckpt").write_bytes(
            content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        )
        with pytest.raises(ValueError, match=r"its SHA-256 is not the one|its end is missing or changed"):
            is_sealed(tmp_path / "b.ckpt")
    for length in range(0, len(content), 11):
        (tmp_path / "b.ckpt").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"its SHA-256 is not the one|its end is missing or changed"):
            is_sealed(tmp_path / "b.ckpt")


KILLED = """
import os, resource, signal, sys
from pathlib import Path
import torch
from vitlab.files.sealed import write_sealed

class Dying:
    def __init__(self, file, left): self.file, self.left = file, left
    def flush(self): self.file.flush()
    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            self.file.write(bytes(data)[: self.left])
            os.kill(os.getpid(), signal.SIGKILL)
        return self.file.write(data)

folder = Path(sys.argv[1])
step = 1
first = {"weights": torch.full((50_000,), 1.0), "step": 1}
write_sealed(folder / "last.ckpt", lambda file: torch.save(first, file))
size = (folder / "last.ckpt").stat().st_size
for kill in range(int(sys.argv[2])):
    step += 1
    def save(file):
        content = {"weights": torch.full((50_000,), float(step)), "step": step}
        torch.save(content, Dying(file, kill * size // int(sys.argv[2])))
    child = os.fork()
    if child == 0:
        write_sealed(folder / "last.ckpt", save, keep=folder / "previous.ckpt")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    weights = torch.load(folder / "last.ckpt", weights_only=True)
    print(kill, weights["step"], float(weights["weights"].unique()))
"""


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("temporary", ["same", "another"])
def test_a_kill_inside_a_write_leaves_the_file_that_was_there(tmp_path, temporary, kills):
    folder = tmp_path / "checkpoints"
    environment = os.environ | {
        "TMPDIR": str(tmp_path) if temporary == "same" else "/dev/shm",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(kills)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [word for kill in range(kills) for word in (str(kill), "1", "1.0")]
    assert is_sealed(folder / "last.ckpt")
    assert len(list(folder.glob(".last.ckpt.part-*"))) == kills
    remove_parts(folder)
    assert [file.name for file in folder.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("left", [0, 100, 1_000, 150_000, 200_900])
def test_a_disk_that_takes_no_more_leaves_the_file_that_was_there_and_says_so_in_one_line(tmp_path, left):
    write(tmp_path / "last.ckpt", {"weights": torch.zeros(50_000), "step": 1})
    before = (tmp_path / "last.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (left, limits[1]))
        with pytest.raises(
            NotWritten,
            match=r"last.ckpt could not be written \(File too large\); what was there before is untouched",
        ) as said:
            write(tmp_path / "last.ckpt", keep=tmp_path / "previous.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(said.value)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_kill_between_two_renames_leaves_nothing_behind_at_the_next_write(tmp_path):
    write(tmp_path / "last.ckpt", {"step": 0})
    os.link(
        tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    )  # the first rename was done, the second was not
    write(tmp_path / "last.ckpt", {"step": 1}, keep=tmp_path / "previous.ckpt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert [
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["step"] for name in ("last", "previous")
    ] == [1, 0]


def test_the_newest_and_the_one_before_are_kept(tmp_path):
    for step in range(4):
        write(tmp_path / "last.ckpt", {"step": step}, keep=tmp_path / "previous.ckpt")
    assert [
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["step"] for name in ("last", "previous")
    ] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 2
