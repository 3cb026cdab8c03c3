"""Folders that are there in whole or not at all, whoever is killed and whoever else writes."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: without the lock processes may do the work twice, and the result is still whole
    fcntl = None

STALE_SECONDS = 24 * 3600


def part_beside(target: Path) -> Path:
    """Returns a name beside `target`, used by nobody, that `remove_stale_parts` knows as unfinished work."""
    return target.with_name(f".{target.name}.part-{os.getpid()}-{secrets.token_hex(4)}")


def remove_stale_parts(folder: Path) -> None:
    """Removes from `folder` what killed processes left unfinished more than a day ago."""
    for part in folder.glob(".*.part-*-????????"):
        try:
            changed = max(entry.stat().st_mtime for entry in (part, *(part.iterdir() if part.is_dir() else ())))
            if changed > time.time() - STALE_SECONDS:
                continue
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()
        except OSError:  # another process is removing it, or it is another user's
            continue


@contextlib.contextmanager
def only_one(target: Path) -> Iterator[bool]:
    """Holds other processes back from the same work on `target`, and tells whether it can: a file system without locks lets all through."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.lock")
    while True:
        with lock.open("w") as file:
            held = False
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX)
                    held = True
            # who held it before has removed it: others may hold the file that bears its name now
            if held and not (lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat())):
                continue
            try:
                yield held
            finally:
                if held:
                    lock.unlink(missing_ok=True)
            return


def _sync(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk."""
    if os.name != "posix":  # elsewhere what was opened for reading cannot be synced
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_folder(target: Path, goes_on: bool = False) -> Iterator[Path]:
    """Yields a folder that becomes `target` when the block ends, and vanishes if it raises.

    It is empty; with `goes_on`, for who holds `only_one(target)`, it is what was left where such a block was interrupted or killed.
    Where `target` has been filled in the meantime, it stays as it is. Raises OSError where nothing can be written.
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
