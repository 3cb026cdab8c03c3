"""The contents of a file that torch.save wrote: the archive's records, and dense tensors on them, none larger
than its record."""

import math
import struct
import zipfile
from typing import Any, BinaryIO

import torch
from torch import Tensor

MOST_COPIES = 4
"""Times the file's size, at most, that all its tensors may have together: several can share one storage."""

STORAGES = {
    f"{kind}Storage": dtype
    for kind, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}


class MoreThanPlain(ValueError):
    """The file asks for something that is neither plain data nor a dense tensor."""


class Archive:
    """The zip archive: uncompressed, with no more in it than the file is long."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.size = file.seek(0, 2)
        archive = zipfile.ZipFile(file)
        self.records = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in self.records.values()):
            raise ValueError("it is compressed, which torch.save does not do")
        if sum(info.file_size for info in archive.infolist()) > self.size:
            raise ValueError("it says that it holds more than it is long")
        tops = [name.removesuffix("data.pkl") for name in self.records if name.endswith("/data.pkl")]
        if len(tops) != 1:
            raise ValueError("it is no file of torch.save's")
        self.top = tops[0]

    def read(self, name: str) -> bytearray:
        info = self.records[self.top + name]
        self.file.seek(info.header_offset + 26)
        lengths = struct.unpack("<HH", self.file.read(4))
        self.file.seek(sum(lengths), 1)
        content = bytearray(info.file_size)
        if self.file.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise ValueError("it is cut short")
        return content


class Tensors:
    """Rebuilds tensors on storages of the archive."""

    def __init__(self, archive: Archive):
        self.archive = archive
        self.storages: dict[str, torch.UntypedStorage] = {}
        self.left = MOST_COPIES * archive.size

    def storage(
        self, kind: Any, dtype: Any, key: Any, location: Any, count: Any
    ) -> tuple[torch.UntypedStorage, torch.dtype]:
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise MoreThanPlain("a reference to something outside")
        if key not in self.storages:
            content = self.archive.read(f"data/{key}")
            self.storages[key] = (
                torch.frombuffer(content, dtype=torch.uint8).untyped_storage()
                if content
                else torch.UntypedStorage(0)
            )
        storage = self.storages[key]
        if count * dtype.itemsize != storage.nbytes():
            raise ValueError(
                f"a tensor's storage has {storage.nbytes()} bytes, not {count} times {dtype.itemsize}"
            )
        return storage, dtype

    def tensor(self, stored: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        storage, dtype = stored
        if len(size) != len(stride) or any(
            type(number) is not int or not 0 <= number < 1 << 40 for number in (offset, *size, *stride)
        ):
            raise ValueError("a tensor's shape is none")
        there, count = storage.nbytes() // dtype.itemsize, math.prod(size)
        end = (
            offset + 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
            if count
            else offset
        )
        if count > there or end > there:
            raise ValueError(f"a tensor of shape {list(size)} does not fit in its storage of {there} numbers")
        self.left -= count * dtype.itemsize
        if self.left < 0:
            raise ValueError("its tensors are larger than it is")
        empty: Any = torch.empty(0, dtype=dtype)
        return empty.set_(storage, offset, tuple(size), tuple(stride))
