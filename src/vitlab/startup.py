"""A quick start: to import torch makes 800,000 objects, and looking for garbage takes a fifth."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage() -> Iterator[None]:
    """Keeps Python's garbage collector from the block, and for good from what is there at its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # libraries in C++ would complain of leaks at the end


NOT_NEEDED = ("scipy", "transformers")
"""What torchmetrics imports where it is installed, and what neither it nor vitlab then uses: 0.6 s each."""


@contextmanager
def no_extras() -> Iterator[None]:
    """Has torchmetrics, which Lightning imports, pass by what is NOT_NEEDED."""
    from unittest.mock import patch  # imports asyncio: not for those who only ask for help

    from lightning_utilities.core import imports

    is_met, is_there = imports.RequirementCache.__bool__, imports.package_available

    def is_met_and_wanted(self: imports.RequirementCache) -> bool:
        return not (self.requirement or "").startswith(NOT_NEEDED) and is_met(self)

    def is_there_and_wanted(name: str) -> bool:
        return name not in NOT_NEEDED and is_there(name)

    with (
        patch.object(imports.RequirementCache, "__bool__", is_met_and_wanted),
        patch.object(imports, "package_available", is_there_and_wanted),
    ):
        yield
