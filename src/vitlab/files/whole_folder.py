"""Folders that are there in whole or not at all, whoever is killed and whoever else writes."""

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

STALE_SECONDS = 24 * 3600


def part_beside(target: Path) -> Path:
    """Returns a name beside `target`, used by nobody, that `remove_stale_parts` knows as unfinished work."""
    return target.with_name(f".{target.name}.part-{os.getpid()}-{secrets.token_hex(4)}")


def remove_stale_parts(folder: Path) -> None:
    """Removes from `folder` what killed processes left unfinished more than a day ago."""
    for part in folder.glob(".*.part-*-????????"):
        try:
            changed = max(
                entry.stat().st_mtime for entry in (part, *(part.iterdir() if part.is_dir() else ()))
            )
            if changed > time.time() - STALE_SECONDS:
                continue
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()
        except OSError:  # another process is removing it, or it is another user's
            continue


def _lock(file: IO[str], target: Path) -> bool:
    """Waits until nobody else holds the file, and tells whether it is held now."""
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process is making it; waiting", target)
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _is_called(file: IO[str], path: Path) -> bool:
    """Tells whether the path leads to this open file, and not to one that came after it, or to none."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def only_one(target: Path) -> Iterator[bool]:
    """Holds other processes back from the same work on `target`, and tells whether it can: a file system
    without locks lets all through."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.lock")
    while True:
        with lock.open("w") as file:
            held = _lock(file, target)
            # who held it before has removed it: others may hold the file that bears its name now
            if held and not _is_called(file, lock):
                continue
            try:
                yield held
            finally:
                if held:
                    lock.unlink(missing_ok=True)
            return


def _sync(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_folder(target: Path, goes_on: bool = False) -> Iterator[Path]:
    """Yields a folder that becomes `target` when the block ends, and vanishes if it raises.

    It is empty; with `goes_on`, for who holds `only_one(target)`, it is what was left where such a block was
    interrupted or killed. Where `target` has been filled in the meantime, it stays as it is. Raises OSError
    where nothing can be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(target.parent)
    part = target.with_name(f".{target.name}.part-to-continue") if goes_on else part_beside(target)
    part.mkdir(exist_ok=goes_on)
    is_kept = False
    try:
        yield part
        for folder, _, names in os.walk(part):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        try:
            part.rename(target)
        except OSError:
            if not target.is_dir() or not any(target.iterdir()):
                raise
        _sync(target.parent)
    except (KeyboardInterrupt, SystemExit):
        is_kept = goes_on
        raise
    finally:
        if not is_kept:
            shutil.rmtree(part, ignore_errors=True)
