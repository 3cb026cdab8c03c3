"""The report as one page: what was compared, the best with its command, tables with links, and pictures."""

import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from vitlab.comparison.entries import Comparison, Entry
from vitlab.comparison.groups import group
from vitlab.comparison.tables import Row, failed, failure_rows, group_rows
from vitlab.pictures.page import base64_text, page
from vitlab.words import in_html

HERE = Path(__file__).parent

DPI, SCREEN_DPI = 120, 80

PAIRED = "On the same test images"


def _link(entry: Entry, folder: Path) -> str:
    """Returns the run's label as a link to its folder, relative to the report's, so that both can be moved
    together. A job that never began has no folder, and no link."""
    if not entry.folder.is_dir():
        return in_html(entry.label)
    place = quote(os.path.relpath(entry.folder.resolve(), folder.resolve()).replace(os.sep, "/"))
    return f'<a href="{place}/">{in_html(entry.label)}</a>'


def _table(
    header: Row, rows: Sequence[Row], runs: Sequence[Sequence[Entry]], column: int, folder: Path
) -> str:
    """Returns a table, in which one column links to each row's runs. Empty columns are left out."""
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    column %= len(header)
    head = "".join(f'<th scope="col">{in_html(header[index])}</th>' for index in kept)
    lines, kinds = [], ['<td class="reason">' if header[index] == "reason" else "<td>" for index in kept]
    for row, entries in zip(rows, runs, strict=True):
        links = ", ".join(_link(entry, folder) for entry in entries)
        cells = [links if index == column else in_html(row[index]) for index in kept]
        cells = [f"{kind}{cell}</td>" for kind, cell in zip(kinds, cells, strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _command(words: str, command: str) -> str:
    button = '<button type="button" class="copy">copy</button>'
    code = f"<pre><code>{in_html(command)}</code></pre>{button}"
    return f'<p>{in_html(_sentence(words))}:</p><div class="command">{code}</div>'


def _picture(name: str, content: bytes, caption: str) -> str:
    width = Image.open(BytesIO(content)).width * SCREEN_DPI // DPI
    url = f"data:image/png;base64,{base64_text(content)}"
    image = f'<img alt="{in_html(caption)}" width="{width}" src="{url}">'
    words = f'<h2>{name.capitalize()}</h2><p class="faint">{in_html(caption)}</p>'
    return f'<section class="card">{words}<div class="scroll">{image}</div></section>'


def comparison_page(
    comparison: Comparison,
    lines: Sequence[str],
    commands: Mapping[str, str],
    pictures: Mapping[str, tuple[bytes, str]],
    notes: Sequence[str],
    folder: Path,
    paired: Sequence[str] = (),
) -> str:
    """Returns the page for a file in `folder`. `lines` come first, `commands` go by what they do."""
    first, *more = lines
    told = "".join(f"<p>{in_html(_sentence(line))}</p>" for line in more)
    body = f'<main><header><h1>{in_html(comparison.title)}</h1><p class="faint">{in_html(first)}</p></header>'
    told += "".join(_command(words, command) for words, command in commands.items())
    body += f'<section class="card">{told}<p id="said" role="status"></p></section>'
    rows = _table(*group_rows(comparison), [member.entries for member in group(comparison)], -1, folder)
    body += f'<section class="card"><h2>Configurations, the best first</h2>{rows}</section>'
    if paired:
        told = "".join(f"<p>{in_html(line)}</p>" for line in paired)
        body += f'<section class="card"><h2>{PAIRED}</h2>{told}</section>'
    if entries := failed(comparison):
        rows = _table(*failure_rows(comparison), [[entry] for entry in entries], 0, folder)
        body += f'<section class="card"><h2>Not completed</h2>{rows}</section>'
    body += "".join(_picture(name, *picture) for name, picture in pictures.items())
    body += "".join(f'<p class="faint">{in_html(note)}</p>' for note in notes)
    title = f"{comparison.title} - vitlab report"
    return page(title, body + "</main>", [HERE / "report.css"], HERE / "copy.js")
