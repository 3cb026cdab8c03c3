"""A quick start: importing torch and Lightning makes 800,000 objects, and to look for garbage among them takes a fifth of the time."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage() -> Iterator[None]:
    """Keeps Python's garbage collector from interrupting the block, and for good from what is there at its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # libraries in C++ would complain of leaks at the end
