"""Names from files are text: nothing in them speaks to a terminal, a log, a page or a spreadsheet."""

import re
from html import escape
from typing import Any

UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What moves the cursor, ends a line or turns its direction, and what is no UTF-8 in a file's name."""

ORDINARY = re.compile(r"[+-]?\w([\w ,.:;/()'\"%±=+-]*[\w).%'\"])?")
"""What Markdown shows as it is, but for the links and the emphasis below."""

MARKDOWN = re.compile(r"://|www\.|(?<!\w)_|_(?!\w)")

FORMULA = re.compile(r"[=+@\t\r-]")
"""With which a spreadsheet takes a cell for something to compute."""


def plain(words: Any) -> str:
    r"""Returns text as one line for any reader, with escapes such as `\n` and `\x1b` for what would act
    instead of being read."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(words))


def plain_lines(words: str) -> str:
    """Returns the same of a text whose lines are meant."""
    return "\n".join(plain(line.expandtabs()) for line in words.split("\n"))


def in_markdown(words: Any) -> str:
    """Returns text as one line, as code where Markdown or HTML would take it for something else."""
    text = plain(words)
    if ORDINARY.fullmatch(text) and not MARKDOWN.search(text):
        return text
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " * ("`" in text)
    return f"{fence}{space}{text}{space}{fence}" if text else ""


def in_html(words: Any) -> str:
    """Returns text as one line for a page, also within quotes."""
    return escape(plain(words))


def in_cell(words: Any) -> str:
    """Returns text as one line for a CSV cell; a number stays, any other formula becomes text."""
    text = plain(words)
    try:
        float(text)
    except ValueError:
        return f"'{text}" if FORMULA.match(text) else text
    return text
