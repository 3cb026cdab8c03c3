"""One HTML file with everything in it: style, script, pictures and data; nothing is loaded from anywhere."""

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from vitlab.insight.pictures.drawing import Picture, png

SMALL = 256
"""Pictures with no longer side than this are embedded without loss, and shown with sharp pixels."""


def part(name: str) -> str:
    """Returns the text of a file that lies beside this module."""
    return files("vitlab.insight.pages").joinpath(name).read_text(encoding="utf-8")


def fill(template: str, /, **fields: str) -> str:
    """Returns a template with its fields replaced; whoever calls has escaped them."""
    return Template(part(template)).substitute(fields)


def base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def picture_url(picture: Picture) -> str:
    """Returns a drawn or small picture as a data URL."""
    return f"data:image/png;base64,{base64_text(png(picture))}"


def answers_list(answer: list[tuple[str, float]]) -> str:
    """Returns list items: a class's name, a bar and its probability."""
    bar = '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="{:.2f}" height="1"/></svg>'
    return "".join(
        f'<li><span class="name">{escape(name)}</span>{bar.format(100 * value)}<span class="value">{value:.1%}</span></li>'
        for name, value in answer
    )


def _source(text: str) -> str:
    """Returns what a content security policy allows by name: this very text and no other."""
    return f"'sha256-{base64_text(hashlib.sha256(text.encode()).digest())}'"


def page(title: str, body: str, styles: list[str], script: str = "", data: Any = None) -> str:
    """Returns the whole page. `body` is HTML with its words escaped; `data` reaches the script as JSON.

    The page's own policy forbids it to load or send anything, and to run any script but this one, whatever a file's name may hold.
    """
    style, code = "".join(part(name) for name in styles), part(script) if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(code)}; base-uri 'none'; form-action 'none'"
    )
    # in a script element only "</script" and "<!--" end or change anything, and both begin with "<"
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return fill("page.html", title=escape(title), policy=policy, style=style, body=body, script=code, data=text)
