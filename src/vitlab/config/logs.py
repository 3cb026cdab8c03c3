"""How messages look: their lines are those of vitlab, whatever the names in them hold."""

import copy
import logging
from pathlib import Path

from vitlab.words import plain, plain_lines


class ForReaders(logging.Filter):
    """Keeps from the terminal what is there for whoever looks something up in the run's log file."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(record, "for_the_file", False)


class PlainFormatter(logging.Formatter):
    """Writes out what would act at a terminal; ends of lines stay, for messages such as a table."""

    def format(self, record: logging.LogRecord) -> str:
        if record.msg != "%s" and isinstance(given := record.args, tuple):
            record, texts = copy.copy(record), (str, Path, Exception)
            record.args = tuple(plain(each) if isinstance(each, texts) else each for each in given)
        return plain_lines(super().format(record))
