"""Folders that are there in whole or not at all, whoever is killed and whoever else writes."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vitlab.files.atomic import STALE_SECONDS, part_beside, remove_parts, sync


@contextlib.contextmanager
def whole_folder(target: Path, goes_on: bool = False) -> Iterator[Path]:
    """Yields a folder that becomes `target` when the block ends, and vanishes if it raises.

    It is empty; with `goes_on`, for who holds `only_one(target)`, it is what was left where such a block was
    interrupted or killed. Where `target` has been filled in the meantime, it stays as it is. Raises OSError
    where nothing can be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(target.parent, STALE_SECONDS)
    part = target.with_name(f".{target.name}.part-to-continue") if goes_on else part_beside(target)
    part.mkdir(exist_ok=goes_on)
    is_kept = False
    try:
        yield part
        for folder, _, names in os.walk(part):
            for name in names:
                sync(Path(folder, name))
            sync(Path(folder))
        try:
            part.rename(target)
        except OSError:
            if not target.is_dir() or not any(target.iterdir()):
                raise
        sync(target.parent)
    except (KeyboardInterrupt, SystemExit):
        is_kept = goes_on
        raise
    finally:
        if not is_kept:
            shutil.rmtree(part, ignore_errors=True)
