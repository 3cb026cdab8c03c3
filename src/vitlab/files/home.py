"""Paths that begin with ~, for users that have no home either: a container's, of whom the system knows a
number alone."""

from pathlib import Path


def expanded(key: str, path: str | Path) -> Path:
    """Returns the path with ~ and ~user led to their home. Raises ValueError, naming the key, where there is
    none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{key}={path}: there is no such home folder; a path without ~ would work") from None
