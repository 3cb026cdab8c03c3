"""One process at a time: the system lets go of a lock when the process that holds it dies."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)


def _is_called(file: IO[str], path: Path) -> bool:
    """Tells whether the path leads to this open file, and not to one that came after it, or to none."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


TRIES = 100
"""A folder that others remove is made so often."""


def _opened(lock: Path) -> IO[str]:
    """Opens a lock, in a folder that others may remove just now because nothing began there."""
    for _ in range(TRIES):
        with suppress(FileNotFoundError, FileExistsError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            return lock.open("w")
    return lock.open("w")  # or raises what is wrong


@contextmanager
def held(lock: Path, work: str) -> Iterator[None]:
    """Keeps other processes from the same work while the block runs. Raises ValueError, with `work` in it, if
    one is at it; warns where the file system has no locks."""
    while True:
        with _opened(lock) as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no data loader inherits it
            except (BlockingIOError, PermissionError):
                raise ValueError(f"another process is at work on {work}") from None
            except OSError as error:
                log.warning(
                    "%s cannot be locked (%s): see that no second process does this", lock, error.strerror
                )
            if not _is_called(file, lock):  # whoever held it before has removed it, with its folder
                continue
            yield
            return


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


@contextmanager
def only_one(target: Path) -> Iterator[bool]:
    """Holds other processes back from `target`, and tells whether it can: not without locks of files."""
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
