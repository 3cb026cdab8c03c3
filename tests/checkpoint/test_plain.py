"""What torch.save wrote comes back with the same bits, and a file that asks for more than it holds is refused
in a moment."""

import struct
import time
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from vitlab.checkpoint.archive import MoreThanPlain
from vitlab.checkpoint.plain import read_plain


def test_all_kinds_of_plain_data_and_tensors_come_back_as_torch_reads_them(tmp_path):
    shared = torch.arange(12.0).reshape(3, 4)
    kinds = ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    content = {
        "plain": [
            None,
            True,
            -1,
            2**40,
            2**100,
            0.5,
            "ä\ud800",
            b"\xff\0",
            (),
            (1,),
            (1, 2),
            (1, 2, 3),
            (1, 2, 3, 4),
            {1: 2},
            {"a", 3},
        ],
        "state": model.state_dict(),
        "views": [shared, shared.T, shared[1:], torch.empty(0), torch.tensor(3.0)],
        "kinds": [torch.ones(5, dtype=getattr(torch, kind)) for kind in kinds],
        "others": [nn.Parameter(torch.ones(2)), OrderedDict(a=1), torch.float32, torch.Size([2])],
        ("key", 1): list(range(300)),
    }
    torch.save(content, tmp_path / "a.pt")
    ours, theirs = read_plain(tmp_path / "a.pt"), torch.load(tmp_path / "a.pt", weights_only=True)

    def compare(one, other):
        if isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
        elif isinstance(one, dict):
            assert list(one) == list(other) and getattr(one, "_metadata", 0) == getattr(other, "_metadata", 0)
            for key in one:
                compare(one[key], other[key])
        elif isinstance(one, list | tuple):
            assert type(one) is type(other) or isinstance(other, torch.Size)
            for part, other_part in zip(one, other, strict=True):
                compare(part, other_part)
        else:
            assert one == other

    compare(ours, theirs)
    assert ours["views"][0].untyped_storage().data_ptr() == ours["views"][1].untyped_storage().data_ptr()


LAUGHS = b"]q\x00" + b"".join(
    b"]q" + bytes([level]) + b"(" + 200 * (b"h" + bytes([level - 1])) + b"e" for level in range(1, 20)
)
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n("

PICKLES = {
    "lists in lists": 200_000 * b"]" + 199_999 * b"a",
    "a tuple in tuples as a key": b"})" + 100_000 * b"\x85" + b"Ns",
    "a list that holds itself": b"]q\x00h\x00a",
    "lists that hold others many times": LAUGHS,
    "keys of one hash": b"}("
    + b"".join(b"\x8a\x09" + (n * (2**61 - 1)).to_bytes(9, "little") + b"N" for n in range(1, 99))
    + b"u",
    "bytes without end": b"c__builtin__\nbytearray\n\x8a\x06\0\0\0\0\0\x10\x85R",
    "a tensor by its class": b"ctorch\nFloatTensor\n\x8a\x06\0\0\0\0\0\x10\x85R",
    "a storage longer than its record": TENSOR + STORAGE + b"J\xff\xff\xff\x7ftQK\0K\x01\x85K\x01\x85\x89}tR",
    "a tensor longer than its storage": TENSOR + STORAGE + b"K\x04tQK\0J\xff\xff\xff\x7f\x85K\x01\x85\x89}tR",
    "a tensor that begins behind its storage": TENSOR + STORAGE + b"K\x04tQK\x04K\x01\x85K\x01\x85\x89}tR",
    "a text longer than the file": b"X" + struct.pack("<I", 2**31),
    "what was never kept": b"h\x07",
    "nothing": b"",
}


@pytest.mark.parametrize("pickled", PICKLES.values(), ids=PICKLES.keys())
def test_a_file_that_asks_for_more_than_it_holds_is_refused_in_a_moment(tmp_path, pickled):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickled + b".")
        archive.writestr("archive/data/0", bytes(16))
    began = time.process_time()
    with pytest.raises(ValueError) as refusal:  # each for its own reason
        read_plain(tmp_path / "a.pt")
    assert time.process_time() - began < 2 and "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["expanded", "sparse", "meta", "complex", "compressed"])
def test_only_dense_tensors_that_lie_in_the_file_are_read(tmp_path, kind):
    tensors = {
        "expanded": lambda: torch.zeros(1).expand(10**6, 10**6),
        "sparse": lambda: torch.eye(3).to_sparse(),
        "meta": lambda: torch.empty(10**6, 10**6, device="meta"),
        "complex": lambda: torch.zeros(3, dtype=torch.complex64),
    }
    torch.save({"a": tensors.get(kind, lambda: torch.zeros(3))()}, tmp_path / "a.pt")
    if kind == "compressed":
        with zipfile.ZipFile(tmp_path / "a.pt") as archive:
            parts = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
    with pytest.raises(ValueError) as refusal:
        read_plain(tmp_path / "a.pt")
    assert isinstance(refusal.value, MoreThanPlain) == (kind in ("sparse", "meta", "complex"))
