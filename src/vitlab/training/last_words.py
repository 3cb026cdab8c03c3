"""What a run says last: the commands that come next, or the one that goes on with it."""

import atexit
import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

log = logging.getLogger(__name__)


def what_next(folder: Path, has_test: bool, names_classes: bool) -> list[str]:
    """Returns lines with the commands that come after a run that ended well. Some look at test images that it
    held back (`has_test`), and `inspect` at what speaks for a class (`names_classes`)."""
    checkpoint = f"checkpoint={shlex.quote(str(folder))}"
    commands = [f"vitlab test {checkpoint}"] if has_test else []
    commands += [f"vitlab inspect {checkpoint}"] if has_test and names_classes else []
    commands += [f"vitlab predict {checkpoint} images=FILE_OR_FOLDER"]
    return [
        f"run folder: {folder}",
        f"to look at it: vitlab dashboard {shlex.quote(str(folder.parent))}",
        f"what next: {'; '.join(commands)}",
    ]


@contextmanager
def told_how_to_go_on(folder: Path) -> Iterator[None]:
    """Writes the command that goes on with a run as its last line where it was interrupted or crashed."""
    line = f"to go on with this run: vitlab train resume={shlex.quote(str(folder))}"
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if rank_zero_only.rank == 0:
            log.info("%s", line)
        raise
    except Exception as error:
        expected = isinstance(error, ValueError | OSError) or hasattr(error, "exit_status")
        if rank_zero_only.rank == 0 and not expected:  # the traceback comes first
            atexit.register(print, line, file=sys.stderr)
        raise
