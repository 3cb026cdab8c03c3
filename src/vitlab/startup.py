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


@contextmanager
def no_transformers() -> Iterator[None]:
    """Has torchmetrics pass transformers by where that is installed: unused, it takes 0.6 s."""
    from unittest.mock import patch  # imports asyncio: not for those who only ask for help

    from lightning_utilities.core.imports import RequirementCache

    is_met = RequirementCache.__bool__

    def is_met_and_wanted(self: RequirementCache) -> bool:
        return not (self.requirement or "").startswith("transformers") and is_met(self)

    with patch.object(RequirementCache, "__bool__", is_met_and_wanted):
        yield
