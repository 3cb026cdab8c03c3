"""Files that are there in whole or not at all: written beside their place, and put there at a stroke."""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_SECONDS = 24 * 3600


class NotWritten(OSError):
    """A file could not be written; what was there before is untouched."""

    exit_status = 1


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file where a write in the block meets a full disk or a refusal, by NotWritten."""
    try:
        yield
    except NotWritten:
        raise
    except OSError as error:
        raise NotWritten(f"{path} could not be written ({error.strerror or error})") from None


def part_beside(target: Path) -> Path:
    """Returns a name beside `target`, used by nobody, that `remove_parts` knows as unfinished work."""
    return target.with_name(f".{target.name}.part-{os.getpid()}-{secrets.token_hex(4)}")


def sync(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """Yields a name to write `target` under: it takes its place at the end, and vanishes on an error."""
    part = part_beside(target)
    try:
        yield part
        sync(part)
        part.replace(target)
        with suppress(OSError):  # not every file system lets a folder be opened
            sync(target.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def replace_text(target: Path, text: str) -> None:
    """Gives a file this content at one stroke. Raises NotWritten where the disk is full or refuses."""
    try:
        with replaced(target) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWritten(
            f"{target} could not be written ({error.strerror or error}); what was there before is untouched"
        ) from None


def remove_parts(folder: Path, older_than_seconds: float = 0.0) -> None:
    """Removes from `folder` what killed processes left unfinished; in a folder that several processes write
    to, only what has not changed for a day, `older_than_seconds=STALE_SECONDS`."""
    for part in folder.glob(".*.part-*-????????"):
        try:
            inside = part.iterdir() if part.is_dir() else ()
            changed = max(entry.stat().st_mtime for entry in (part, *inside))
            if older_than_seconds and changed > time.time() - older_than_seconds:
                continue
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()
        except OSError:  # another process is removing it, or it is another user's
            continue
