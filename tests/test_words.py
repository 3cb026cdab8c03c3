"""Whatever a name holds, its reader sees letters; and a word of ours means one thing."""

import ast
import csv
import io
import re
from pathlib import Path

import pytest

from vitlab.comparison.tables import as_csv, as_markdown, as_text
from vitlab.words import in_cell, in_markdown, plain

SOURCE = Path(__file__).parents[1] / "src" / "vitlab"

ODD = {
    "a line's end": "a\nb\r\u2028c\x85",
    "colours of a terminal": "\x1b[31mred\x07",
    "the other direction": "\u202egpj.exe\u2066",
    "no UTF-8": "caf\udce9",
    "HTML": "<img src=x onerror=alert(1)>",
    "a link": "[x](http://e)",
    "a bare link": "see http://e",
    "emphasis": "__all__ and **more**",
    "code": "`a` ``b``",
    "only code": "```",
    "a cell": "a|b",
    "a formula": "=cmd|' /C calc'!A0",
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
def test_an_odd_name_is_one_line_of_letters_everywhere(name):
    for text in (plain(name), in_markdown(name), in_cell(name), as_text(["name"], [[name]]).splitlines()[-1]):
        assert len(text.splitlines()) == 1 and text.isprintable() and text.encode()
    header, _, row = as_markdown(["name", "value"], [[name, "1"]]).splitlines()
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", header)) == 3
    (read,) = list(csv.reader(io.StringIO(as_csv(["name"], [[name]]))))[1:]
    assert read[0][0] not in "=+-@"


@pytest.mark.parametrize("name", [*ODD.values()][3:11])
def test_what_markdown_would_act_on_stands_as_code(name):
    code = in_markdown(name)
    if "caf" in name:
        assert code == "`caf\\udce9`"
        return
    (fence,) = re.findall("^`+", code)
    assert code.endswith(fence) and code.count(fence + "`") == 0
    assert fence not in code[len(fence) : -len(fence)] and plain(name) in code


@pytest.mark.parametrize(
    "name",
    [
        "golden_retriever",
        "ash",
        "Bäume",
        "花",
        "best/val/accuracy",
        "0.9123 ± 0.0042",
        "-1e-05",
        "a=b c",
        "x (1)",
    ],
)
def test_an_ordinary_name_stays_as_it_is(name):
    assert plain(name) == in_markdown(name) == in_cell(name) == name


ONE_MEANING = {
    "report": (
        "comparison",
        *(f"commands/{door}.py" for door in ("report", "sweep", "list", "help")),
    )
}
"""Words of ours that mean one thing each, and where that thing is made or named: a report is what `vitlab
report` writes."""


def words_of(file):
    """Yields each name that a file gives or uses, with its words: `ClassReport` has "class" and "report"."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Name | ast.arg | ast.FunctionDef | ast.ClassDef):
            name = next(getattr(node, key) for key in ("id", "arg", "name") if hasattr(node, key))
            yield name, re.sub("([A-Z])", r"_\1", name).lower().split("_")


@pytest.mark.parametrize("word", ONE_MEANING)
def test_a_word_of_ours_names_one_thing_alone(word):
    files = [
        file
        for file in SOURCE.rglob("*.py")
        if not str(file.relative_to(SOURCE)).startswith(ONE_MEANING[word])
    ]
    assert len(files) > 100
    assert not [(file.name, name) for file in files for name, words in words_of(file) if word in words]
