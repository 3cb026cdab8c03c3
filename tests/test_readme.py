"""What a newcomer reads first is short, its links lead somewhere, and its commands are commands."""

import re
import shlex
from pathlib import Path

import pytest

from vitlab import __version__
from vitlab.commands.help import COMMANDS
from vitlab.config.compose import compose_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text()


def commands_of(page):
    """Returns the lines of code that call vitlab, without their comments, split as a shell does; continued
    lines are joined."""
    code = "\n".join(line[4:] for line in page.read_text().splitlines() if line.startswith("    "))
    lines = code.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("vitlab ")]


def test_the_readme_is_read_in_one_sitting():
    lines = README.splitlines()
    assert len(lines) <= 140
    assert [line for line in lines if len(line) > 110] == []


def test_the_pictures_load_quickly_and_the_ones_of_the_readme_have_a_command_that_makes_them_again():
    assert sum(file.stat().st_size for file in (ROOT / "docs" / "pictures").iterdir()) < 1_500_000
    program = (ROOT / "benchmarks" / "readme_pictures.py").read_text()
    shown = re.findall(r"!\[[^]]*\]\(docs/pictures/([^)]+)\)", README)
    assert (
        len(shown) == 2
        and all(f'"{name}"' in program for name in shown)
        and "python -m benchmarks.readme_pictures" in README
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_ones_and_their_configs_compose(page):
    for _, command, *arguments in commands_of(page):
        assert command in COMMANDS
        plain = [each for each in arguments if "=" in each and not each.startswith(("sweep", "hydra"))]
        # those with files of the reader's own are run in tests/tenants/test_extending.py
        if command == "train" and "..." not in arguments and "--config-dir" not in arguments:
            first = [each if "(" in each or "[" in each else each.partition(",")[0] for each in plain]
            compose_config(
                "train", [each for each in first if "interval(" not in each and "range(" not in each]
            )


def test_the_licence_and_the_citation_are_this_versions():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
