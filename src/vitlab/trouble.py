"""What the machine refuses, in one line: a full disk, no memory, no more file handles, wherever it shows."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

from vitlab.words import plain


def one_line(error: BaseException, text: str | None = None) -> str:
    """Returns what an error says: a line that names the file, without characters that move a terminal."""
    if text is None or not text or isinstance(error, OSError | MemoryError):
        text = str(error)
        if isinstance(error, MemoryError):
            text = f"not enough memory: {text}" if text else "not enough memory"
        elif isinstance(error, OSError) and error.strerror:
            text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return plain(" ".join(text.split()))


def _tell_once(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    """Says that a log file takes no more, instead of a traceback for each line."""
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    error = sys.exception() or OSError("unknown")
    print(
        f"vitlab: {handler.baseFilename} could not be written ({one_line(error)}); it lacks lines",
        file=sys.stderr,
    )


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Lets log files and threads that meet a full disk in the block tell so in a line."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = partial(_tell_once, handler)  # type: ignore[method-assign]
    tell = threading.excepthook
    with patch.object(
        threading, "excepthook", lambda end: None if issubclass(end.exc_type, OSError) else tell(end)
    ):
        yield
