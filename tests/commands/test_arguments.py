"""What Hydra reads in the end is what was typed, whatever letters a path has."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vitlab.commands.arguments import quote_paths

PATHS = ["photo(1).png", "it's.png", "back\\slash.png", "end\\", "\\'both'\\", "grün #1 [2]{3}, a=b & c.png", " spaces ", "a,b"]


@pytest.mark.parametrize("path", PATHS)
def test_hydra_reads_a_path_as_it_was_typed(path):
    (argument,) = quote_paths([f"images={path}"])
    assert OverridesParser.create().parse_override(argument).value() == path


def test_what_hydra_would_read_by_itself_and_what_is_no_path_stays(monkeypatch):
    given = ["data.root=a/b-c.d", "data.root='it is'", "hydra.run.dir=outputs/${name}", "optimizer.betas=[0.9,0.99]", "model.weights=[a]"]
    assert quote_paths(given) == given
    assert quote_paths(["-m", "data.root=a,b"]) == ["-m", "data.root=a,b"]
    monkeypatch.setenv("HOME", "/home/lab")
    assert quote_paths(["data.root=~/photos"]) == ["data.root=/home/lab/photos"]
