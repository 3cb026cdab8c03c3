"""One page on a folder of photographs: each with its answer, and the way to its own page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from vitlab.gallery.explained_photograph import PhotographLook
from vitlab.pictures.drawing import Picture, shrink
from vitlab.pictures.embedded import photo_url
from vitlab.pictures.page import fill, page
from vitlab.words import in_html

HERE = Path(__file__).parent

THUMBNAIL = 240
"""The longer side of a thumbnail, in pixels."""


class Entry(NamedTuple):
    """A photograph's name, thumbnail, most probable class with probability, and its page's path."""

    name: str
    thumbnail: Picture
    answer: tuple[str, float]
    page: str

    @classmethod
    def of(cls, look: PhotographLook, name: str, page: str) -> "Entry":
        return cls(name, shrink(look.shown, THUMBNAIL), look.answer[0], page)


def _card(entry: Entry) -> str:
    height, width = entry.thumbnail.shape[:2]
    image = (
        f'<img src="{photo_url(entry.thumbnail, exact_up_to=64)}" width="{width}" height="{height}" alt="">'
    )
    answer, probability = entry.answer
    words = (
        f"<strong>{in_html(answer)}</strong> {probability:.1%}<span"
        f' class="faint">{in_html(entry.name)}</span>'
    )
    return f'<li><a href="{quote(entry.page)}">{image}{words}</a></li>'


def folder_index(folder: str, model_name: str, entries: Sequence[Entry], unread: Sequence[str]) -> str:
    """Returns the page; `unread` has a line for each file that has no page."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.answer[0]] = counts.get(entry.answer[0], 0) + 1
    answers = ", ".join(
        f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    missing = "".join(f"<li>{in_html(line)}</li>" for line in unread)
    body = fill(
        HERE / "folder_index.html",
        folder=in_html(folder),
        summary=in_html(f"{len(entries)} photographs: {answers}"),
        model=in_html(model_name),
        cards="".join(map(_card, entries)),
        unread=(
            f'<section class="card"><h2>Without a page</h2><ul class="unread">{missing}</ul></section>'
            if missing
            else ""
        ),
    )
    return page(folder, body, [HERE / "folder_index.css"])
