"""Sheets: rows of pictures with words beside, above and below them, and the colours explained."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw

from vitlab.pictures.drawing import UNIFORM_RANGE, Colours, Picture, colours
from vitlab.pictures.fonts import font, legible

INK, FAINT, WARNING = (30, 30, 30), (110, 110, 110), (190, 40, 40)
MARGIN, GAP, LINE, SIZE, TITLE_SIZE = 12, 6, 14, 11, 13
LABEL_WIDTH = 150
MIN_WIDTH = 420
TITLE_LINES = 4
"""Columns' titles may take so many lines; where they need more, narrow columns grow to TITLE_WIDTH."""

TITLE_WIDTH = 200


class Text(NamedTuple):
    """A line of words; `warns` makes it red."""

    words: str
    warns: bool = False


class Row(NamedTuple):
    """Pictures side by side (None leaves a place empty), and what is written on their left."""

    pictures: Sequence[Picture | None]
    label: Sequence[Text] = ()


QUARTERS = (0, 0.25, 0.5, 0.75, 1)


class Bar(NamedTuple):
    """What colours mean: the range from `low` to `high`, with the values that are written under it."""

    words: str
    high: float
    low: float = 0.0
    ticks: Sequence[float] = ()
    name: Colours = "inferno"


def uniform_bar(high: float = UNIFORM_RANGE, words: str = "times uniform attention") -> Bar:
    """Returns the bar of attention in multiples of uniform attention; `words` name another equal share."""
    return Bar(words, high, ticks=[0.0, *(high / 2**halvings for halvings in (3, 2, 1, 0))])


@lru_cache(maxsize=4096)
def _width(words: str, size: int = SIZE) -> int:
    words = " ".join(words.split())
    return int(font(size, words).getlength(words) + 0.999)


def _shortened(words: str, width: int, size: int = SIZE) -> str:
    """Returns the words in one line, cut with an ellipsis where they are wider than `width` pixels."""
    words = " ".join(words.split())
    if _width(words, size) <= width:
        return words
    while words and _width(words + "…", size) > width:
        words = words[:-1]
    return words + "…"


def _wrapped(words: str, width: int, size: int = SIZE) -> list[str]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if _width(longer, size) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_shortened(line, width, size) for line in lines]


def _lines(column: Sequence[Text], width: int) -> list[Text]:
    return [Text(line, text.warns) for text in column for line in _wrapped(text.words, width)]


def _has_room(column: Sequence[Text], width: int) -> bool:
    words = [word for text in column for word in text.words.split()]
    return len(_lines(column, width)) <= TITLE_LINES and all(_width(word) <= width for word in words)


def _legible(column: Sequence[Text]) -> list[Text]:
    return [text._replace(words=legible(text.words)) for text in column]


def _write(
    pen: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: Text,
    colour: tuple[int, int, int] = INK,
    anchor: str = "la",
) -> None:
    ink = WARNING if text.warns else colour
    pen.text((x, y), text.words, font=font(SIZE, text.words), fill=ink, anchor=anchor)


def sheet(
    rows: Sequence[Row],
    columns: Sequence[Sequence[Text]] = (),
    title: str = "",
    footer: Sequence[Text] = (),
    bars: Sequence[Bar] = (),
    room_for: str = "",
) -> Picture:
    """Returns a page with pictures in rows and columns; words without room are wrapped or shortened. Labels
    leave room for these words even where none says them, so that pages of an animation do not jump."""
    written = [Text(title), *footer]
    written += [text for column in [*columns, *(row.label for row in rows)] for text in column]
    if any(legible(text.words) != text.words for text in written):
        rows = [row._replace(label=_legible(row.label)) for row in rows]
        columns, title = [_legible(column) for column in columns], legible(title)
        note = "Letters that no font on this machine has are written as their Unicode numbers."
        footer = [*_legible(footer), Text(note)]
    shown = [picture for row in rows for picture in row.pictures if picture is not None]
    height, width = (max(picture.shape[axis] for picture in shown) for axis in (0, 1))
    while width < TITLE_WIDTH and not all(_has_room(column, width) for column in columns):
        width += 1
    num_columns = max(len(row.pictures) for row in rows)
    labels = [_width(text.words) for row in rows for text in [*row.label, Text(room_for)] if row.label]
    label_width = min(max(labels), LABEL_WIDTH) + GAP if labels else 0
    height = max(height, LINE * max(len(row.label) for row in rows))

    left = MARGIN + label_width
    total_width = max(left + num_columns * (width + GAP) - GAP + MARGIN, MIN_WIDTH)
    inner = total_width - 2 * MARGIN
    headings = [_lines(column, width)[:TITLE_LINES] for column in columns]
    heading_height = LINE * max((len(heading) for heading in headings), default=0)
    notes = [Text(line, text.warns) for text in footer for line in _wrapped(text.words, inner)]
    title_lines = _wrapped(title, inner, TITLE_SIZE) if title else []
    top = MARGIN + (LINE + 3) * len(title_lines) + (GAP if title_lines else 0) + heading_height
    bar_top = top + len(rows) * (height + GAP) + GAP
    notes_top = bar_top + (10 + 2 * LINE + GAP if bars else 0)
    total_height = notes_top + LINE * len(notes) + MARGIN

    page = np.full((total_height, total_width, 3), 255, dtype=np.uint8)
    for index, row in enumerate(rows):
        y = top + index * (height + GAP)
        for column, picture in enumerate(row.pictures):
            if picture is not None:
                x = left + column * (width + GAP) + (width - picture.shape[1]) // 2
                page[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    bar_width = min(280, (inner - 2 * MARGIN * (len(bars) - 1)) // max(len(bars), 1))
    places = [MARGIN + index * (bar_width + 2 * MARGIN) for index in range(len(bars))]
    for x, bar in zip(places, bars, strict=True):
        ramp = torch.linspace(bar.low, bar.high, bar_width)[None].expand(10, -1)
        page[bar_top : bar_top + 10, x : x + bar_width] = colours(ramp, bar.high, bar.low, bar.name)

    canvas = Image.fromarray(page)
    pen = ImageDraw.Draw(canvas)
    for number, line in enumerate(title_lines):
        pen.text((MARGIN, MARGIN - 2 + number * (LINE + 3)), line, font=font(TITLE_SIZE, line), fill=INK)
    for column, heading in enumerate(headings):
        middle = left + column * (width + GAP) + width / 2
        for number, text in enumerate(heading):
            _write(pen, middle, top - LINE * (len(heading) - number) - 2, text, anchor="ma")
    for index, row in enumerate(rows):
        y = top + index * (height + GAP) + (height - LINE * len(row.label)) // 2
        for number, text in enumerate(row.label):
            words = _shortened(text.words, label_width - GAP)
            _write(pen, MARGIN, y + number * LINE, Text(words, text.warns))
    for x, bar in zip(places, bars, strict=True):
        for tick in bar.ticks:
            place = x + (bar_width - 1) * (tick - bar.low) / (bar.high - bar.low)
            anchor = "la" if tick == bar.low else "ra" if tick == bar.high else "ma"
            _write(pen, place, bar_top + 11, Text(f"{tick:g}"), FAINT, anchor)
        words = _shortened(bar.words, inner if len(bars) == 1 else bar_width)
        _write(pen, x, bar_top + 11 + LINE, Text(words), FAINT)
    for number, text in enumerate(notes):
        _write(pen, MARGIN, notes_top + number * LINE, text, FAINT)
    return np.asarray(canvas)


def gallery(
    pictures: Sequence[Picture], captions: Sequence[Sequence[Text]], columns: int = 6, title: str = ""
) -> Picture:
    """Returns a page of pictures, at most `columns` side by side, each under its caption."""
    columns = min(columns, len(pictures))
    lines = []
    for start in range(0, len(pictures), columns):
        line = pictures[start : start + columns]
        row = Row([*line, *[None] * (columns - len(line))])
        lines.append(sheet([row], captions[start : start + columns], "" if start else title))
    width = max(line.shape[1] for line in lines)
    rooms = [((0, 0), (0, width - line.shape[1]), (0, 0)) for line in lines]
    padded = [np.pad(line, room, constant_values=255) for line, room in zip(lines, rooms, strict=True)]
    return np.concatenate(padded)
