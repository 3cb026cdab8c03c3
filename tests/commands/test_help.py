"""Pages of help say what each command, option and key is, and what may stand there."""

import re

import pytest

from vitlab.commands import help
from vitlab.config.compose import compose_config
from vitlab.config.conf_files import conf_dir, description, keys, options
from vitlab.export.formats import FORMATS
from vitlab.insight.explain import METHODS

GROUPS = sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir() and folder.name != "hydra")


@pytest.mark.parametrize("command", help.DOES)
def test_every_key_of_a_command_is_explained(command):
    found = list(keys(conf_dir() / f"{command}.yaml"))
    assert found
    assert [key.name for key in found if not key.comment] == []


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_a_group_says_what_it_is(group):
    assert [option for option in options(group) if not description(group, option)] == []


def test_keys_and_defaults_are_those_that_hydra_composes():
    config = compose_config("train", [])
    for key in keys(conf_dir() / "train.yaml"):
        node = config
        for name in key.name.split("."):
            assert name in node, key
            node = node[name]
        assert str(node).lower() == {"null": "none"}.get(key.default, key.default)


@pytest.mark.parametrize(
    ("command", "key", "values"),
    [
        ("predict", "explain", METHODS),
        ("export", "format", tuple(FORMATS)),
        ("predict", "device", ("cuda", "cpu")),
    ],
)
def test_a_key_with_choices_names_them(command, key, values):
    (comment,) = [each.comment for each in keys(conf_dir() / f"{command}.yaml") if each.name == key]
    assert set(values) <= set(re.findall(r"\w+", comment))


@pytest.mark.parametrize("command", help.DOES)
@pytest.mark.parametrize("width", [60, 110])
def test_a_page_fits_the_terminal_and_needs_no_hydra(vitlab, command, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    ended = vitlab(command, "--help")
    assert ended.status == 0
    assert "Hydra" not in ended.out
    assert help.DOES[command] in ended.out
    prose = [
        line
        for line in ended.out.splitlines()[1:]
        if not line.strip().startswith("vitlab ") and ":" not in line
    ]
    assert [line for line in prose if len(line) > max(width, 80)] == []


def test_a_group_shows_its_options_and_each_ones_default(vitlab):
    ended = vitlab("train", "--help", "optimizer")
    assert "Muon for the matrices" in ended.out
    assert "adamw 1.0e-3, muon 3.0e-3, sgd 0.03" in " ".join(ended.out.split())
    assert "did you mean optimizer?" in vitlab("train", "--help", "optimiser").err


@pytest.mark.parametrize(
    ("typed", "meant"), [("tain", "train"), ("inspct", "inspect"), ("predct", "predict")]
)
def test_a_command_that_is_misspelt_is_told_what_was_meant(vitlab, typed, meant):
    ended = vitlab(typed)
    assert ended.status == 2
    assert ended.err == f"vitlab: unknown command {typed}; did you mean {meant}?\n"
