"""Data before it is trained on: a sheet of pictures by class, and a page with all that was found."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vitlab.data.files.bands import as_colours
from vitlab.data.look_over import some_of
from vitlab.data.splits import Split
from vitlab.data.targets import has
from vitlab.pictures.drawing import Picture, enlarge, shrink
from vitlab.pictures.embedded import photo_url
from vitlab.pictures.page import page
from vitlab.pictures.sheets import Row, Text, sheet
from vitlab.words import in_html

HERE = Path(__file__).parent

THUMBNAIL = 96
"""The longer side of a picture on the sheet, in pixels."""

ROWS = 20
"""Classes on one PNG."""

MOST_ROWS = 500
"""Rows of a table on the page; check.json has all."""


class ClassPictures(NamedTuple):
    """A class, its number of images in each split, and pictures with the split that each is of."""

    name: str
    counts: dict[str, int]
    pictures: Sequence[tuple[str, Picture]]


def _thumbnail(picture: Picture) -> Picture:
    longer = max(picture.shape[:2])
    return shrink(picture, THUMBNAIL) if longer > THUMBNAIL else enlarge(picture, THUMBNAIL * 2 // 3)


def pictures_by_class(
    splits: Mapping[str, Split],
    names: Sequence[str],
    classes: Sequence[int],
    count: int,
    seed: int,
    bands: Sequence[int],
) -> list[ClassPictures]:
    """Returns at most `count` pictures of each class, of training as long as it has some; those that cannot
    be read are left out. `bands` are the channels that people see as colours."""
    found = []
    for label in classes:
        counts = {name: int(has(split.labels, label).sum()) for name, split in splits.items()}
        some = some_of(splits, label, count, seed)
        pictures = [(name, as_colours(pixels.permute(1, 2, 0).numpy(), bands)) for name, pixels in some]
        shown = [(name, _thumbnail(picture)) for name, picture in pictures]
        found.append(ClassPictures(names[label], counts, shown))
    return found


def contact_sheets(classes: Sequence[ClassPictures], title: str) -> Iterator[Picture]:
    """Yields pages with a row of pictures for each class."""
    with_pictures = [each for each in classes if each.pictures]
    for start in range(0, len(with_pictures), ROWS):
        rows = []
        for each in with_pictures[start : start + ROWS]:
            counts = [Text(f"{number:,} {name}", warns=not number) for name, number in each.counts.items()]
            rows.append(Row([picture for _, picture in each.pictures], [Text(each.name), *counts]))
        which = f", classes {start + 1} to {start + len(rows)} of {len(with_pictures)}"
        yield np.asarray(sheet(rows, title=f"{title}{which if len(with_pictures) > ROWS else ''}"))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{in_html(words)}</th>' for words in header)
    lines = "".join(
        f"<tr>{''.join(f'<td>{in_html(cell)}</td>' for cell in row)}</tr>" for row in rows[:MOST_ROWS]
    )
    more = f'<p class="faint">and {len(rows) - MOST_ROWS:,} more</p>' if len(rows) > MOST_ROWS else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="scroll">{table}</div>{more}'


def _card(title: str, body: str) -> str:
    return f'<section class="card"><h2>{in_html(title)}</h2>{body}</section>' if body else ""


def _bars(rows: Sequence[Sequence[str]], most: int) -> str:
    """Returns a line a class: its name, a bar by its share of the largest, and its number of images."""
    lines = "".join(
        f'<li><span class="name">{in_html(name)}</span><svg viewBox="0 0 100 9" preserveAspectRatio="none"'
        f' role="presentation"><rect width="{100 * int(number) / max(most, 1):.2f}" height="9"></rect></svg>'
        f'<span class="value">{int(number):,}</span></li>'
        for name, number in rows
    )
    return f'<ul class="answers">{lines}</ul>'


def _caption(split: str) -> str:
    return "" if split == "train" else f"<figcaption>{in_html(split)}</figcaption>"


def _pictures(classes: Sequence[ClassPictures]) -> str:
    parts = []
    for each in classes:
        images = "".join(
            f'<figure><img src="{photo_url(picture, exact_up_to=64)}" width="{picture.shape[1]}"'
            f' height="{picture.shape[0]}" alt="">{_caption(split)}</figure>'
            for split, picture in each.pictures
        )
        counts = ", ".join(f"{number:,} {name}" for name, number in each.counts.items())
        heading = f'<h3>{in_html(each.name)} <span class="faint">{counts}</span></h3>'
        parts.append(f'{heading}<div class="row">{images}</div>')
    return "".join(parts)


def size_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns what is known of the pictures' sizes, modes and formats, in words."""
    sizes, rows = facts["sizes"], []
    for side in ("width", "height"):
        if side in sizes:
            least, median, most = (f"{sizes[side][key]:,}" for key in ("least", "median", "most"))
            rows.append((f"{side}, px", f"{least} to {most}, median {median}"))
    if common := sizes.get("most_common"):
        told = ", ".join(f"{size} ({number:,})" for size, number in common)
        rows.append(("most common sizes", f"{told}; {sizes['different']:,} size(s) in all"))
    for key in ("modes", "formats"):
        if facts[key]:
            rows.append((key, ", ".join(f"{name} ({number:,})" for name, number in facts[key].items())))
    channels, height, width = sizes["stored"]
    rows.append(("kept as", f"{width} x {height} px, {channels} channel(s)"))
    return rows


def data_page(
    title: str,
    facts: Mapping[str, Any],
    findings: Sequence[str],
    summary: Sequence[str],
    classes: Sequence[ClassPictures],
) -> str:
    """Returns the page; `summary` says what the data is, `classes` are those that are shown."""
    names, counts = facts["classes"], facts["counts"]
    totals = [sum(numbers) for numbers in zip(*counts.values(), strict=True)]
    rows = [
        [name, *(f"{numbers[label]:,}" for numbers in counts.values()), f"{totals[label]:,}"]
        for label, name in enumerate(names)
    ]
    by_size = sorted(zip(names, map(str, totals), strict=True), key=lambda row: -int(row[1]))
    found = "".join(f"<li>{in_html(line)}</li>" for line in findings)
    told = f'<ul class="found">{found}</ul>' if found else '<p class="good">Nothing looks odd.</p>'
    copies, unusable = facts["copies"]["all"], facts["unreadable"]
    body = f"<main><header><h1>{in_html(title)}</h1>"
    body += "".join(f'<p class="faint">{in_html(line)}</p>' for line in summary) + "</header>"
    body += _card("What to look at before training", told)
    body += _card("Images by class and split", _table(["class", *counts, "all"], rows))
    body += _card("Classes by size", _bars(by_size[:MOST_ROWS], max(totals)))
    body += _card("Pictures", _table(["what", "found"], size_rows(facts)))
    body += _card("Cannot be used", _table(["file", "why"], unusable) if unusable else "")
    shown = _table(["copies"], [[" = ".join(each)] for each in copies]) if copies else ""
    body += _card("The same picture more than once", shown)
    left = len(names) - len(classes)
    of_all = f"; {left:,} more classes are not shown" if left else ""
    body += _card(f"Some pictures of each class{of_all}", _pictures(classes))
    return page(f"{title} - vitlab check", body + "</main>", [HERE / "data_page.css"])
