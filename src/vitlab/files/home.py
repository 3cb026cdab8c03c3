"""Paths that begin with ~, also for users without a home, such as a container's."""

from pathlib import Path


def expanded(key: str, path: str | Path) -> Path:
    """Returns the path with ~ and ~user led home. Raises ValueError, naming the key, without a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{key}={path}: there is no such home folder; a path without ~ would work") from None
