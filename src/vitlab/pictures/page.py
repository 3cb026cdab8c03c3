"""One HTML file with everything in it: style, script, pictures and data; nothing is loaded from anywhere."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from vitlab.words import in_html

HERE = Path(__file__).parent


def fill(template: Path, /, **fields: str) -> str:
    """Returns a template file's text with its fields replaced; whoever calls has escaped them."""
    return Template(template.read_text(encoding="utf-8")).substitute(fields)


def base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _source(text: str) -> str:
    """Returns what a content security policy allows by name: this very text and no other."""
    return f"'sha256-{base64_text(hashlib.sha256(text.encode()).digest())}'"


def page(
    title: str, body: str, styles: Sequence[Path] = (), script: Path | None = None, data: Any = None
) -> str:
    """Returns the whole page, in the style of all and its own. `body` is HTML with its words escaped; `data`
    reaches the script as JSON. The page's own policy forbids it to load or send anything, and to run any
    script but its own, whatever a file's name may hold."""
    style = "".join(file.read_text(encoding="utf-8") for file in (HERE / "page.css", *styles))
    scripts = [HERE / "scrolling.js", *([script] if script else [])]
    code = "".join(file.read_text(encoding="utf-8") for file in scripts)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(code)}; base-uri"
        " 'none'; form-action 'none'"
    )
    # in a script element only "</script" and "<!--" end or change anything, and both begin with "<"
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    fields = {"title": in_html(title), "policy": policy, "style": style}
    return fill(HERE / "page.html", **fields, body=body, script=code, data=text)
