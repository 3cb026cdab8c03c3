"""Archives that are whole or not there, and that tell of a flipped bit.

`torch.save` writes a zip archive, and torch checks none of its checksums when it loads one. The seal is a
SHA-256 in the archive's own comment: every reader of zip files skips it, a file that is moved takes it along,
and no kill can come between a file and its seal.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from vitlab.files.atomic import NotWritten, part_beside, replaced

MARK = b"vitlab sha256 "
COMMENT_SIZE = len(MARK) + 64
END = b"PK\x05\x06"
END_SIZE = 22
"""A zip archive's last record without its comment; its last two bytes are the comment's length."""


class _Hashing:
    """What torch.save needs of a file; it keeps the reason of a failed write, which torch confuses."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            self.digest.update(data)
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None: ...

    def seal(self) -> None:
        comment = MARK + self.digest.hexdigest().encode()
        self.file.seek(-2, os.SEEK_END)
        self.file.write(len(comment).to_bytes(2, "little") + comment)


def write_sealed(path: Path, save: Callable[[Any], None], keep: Path | None = None) -> None:
    """Writes by `save` beside `path`, a zip archive, and puts it there at one stroke; what stood there moves
    to `keep`, if given. Raises NotWritten where the disk is full or refuses."""
    hashing = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part:
            with part.open("w+b") as file:
                hashing = _Hashing(file)
                save(hashing)
                hashing.seal()
            if keep is not None and path.exists():
                _give_second_name(path, keep)
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else hashing and hashing.error
        if reason is None:
            raise
        raise NotWritten(
            f"{path} could not be written ({reason.strerror or reason}); what was there before is untouched"
        ) from None


def _give_second_name(path: Path, name: Path) -> None:
    part = part_beside(name)
    try:
        os.link(path, part)
        part.replace(name)
        # where both already were one file, as after a kill right here, nothing was replaced
        part.unlink(missing_ok=True)
    except OSError:  # a file system without links: for a moment there is nothing under the first name
        path.replace(name)


def is_sealed(path: Path) -> bool:
    """Tells whether a zip archive has a seal. Raises ValueError where the content is not what was sealed."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(-min(size, END_SIZE + COMMENT_SIZE), os.SEEK_END)
        tail = file.read()
        if tail[-END_SIZE:].startswith(END) and tail.endswith(b"\0\0"):
            return False
        comment = tail[END_SIZE:]
        if not (
            tail.startswith(END)
            and comment.startswith(MARK)
            and tail[END_SIZE - 2 : END_SIZE] == COMMENT_SIZE.to_bytes(2, "little")
        ):
            raise ValueError("its end is missing or changed")
        digest, left = hashlib.sha256(), size - COMMENT_SIZE - 2
        file.seek(0)
        while left:
            chunk = file.read(min(left, 1 << 20))
            digest.update(chunk)
            left -= len(chunk)
    digest.update(b"\0\0")
    if comment[len(MARK) :] != digest.hexdigest().encode():
        raise ValueError("its SHA-256 is not the one it was written with")
    return True
