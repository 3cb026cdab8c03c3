"""What Hydra reads in the end is what was typed, whatever letters a path has."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vitlab.config.arguments import quote_paths

PATHS = [
    "photo(1).png",
    "it's.png",
    "back\\slash.png",
    "end\\",
    "\\'both'\\",
    "grün #1 [2]{3}, a=b & c.png",
    " spaces ",
    "a,b",
]


@pytest.mark.parametrize("path", PATHS)
def test_hydra_reads_a_path_as_it_was_typed(path):
    (argument,) = quote_paths([f"images={path}"])
    assert OverridesParser.create().parse_override(argument).value() == path


def test_what_hydra_would_read_by_itself_and_what_is_no_path_stays(monkeypatch):
    given = [
        "data.root=a/b-c.d",
        "data.root='it is'",
        "hydra.run.dir=outputs/${name}",
        "optimizer.betas=[0.9,0.99]",
        "model.weights=[a]",
    ]
    assert quote_paths(given) == given
    assert quote_paths(["-m", "model.weights=a,b"]) == ["-m", "model.weights=a,b"]
    monkeypatch.setenv("HOME", "/home/lab")
    assert quote_paths(["data.root=~/photos"]) == ["data.root=/home/lab/photos"]


def test_with_m_a_comma_separates_paths_only_where_there_is_no_such_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(argument):
        given = quote_paths(["-m", argument])[1]
        parsed = OverridesParser.create().parse_override(given)
        return list(parsed.sweep_string_iterator()) if parsed.is_sweep_override() else parsed.value()

    for name in ("a,b", "c", "d=e"):
        (tmp_path / name).mkdir()
    assert read("data.root=a,b") == "a,b"
    assert read("data.root=c,d=e") == ["c", "'d=e'"]
    assert read("data.root=d=e") == "d=e"
    assert read("data.root=choice(a,b)") == ["a", "b"]
    for key in ("hydra.sweep.dir", "data.cache_dir"):
        assert read(f"{key}=new,folder") == "new,folder"
    with pytest.raises(ValueError, match=r"data\.root=c,e: there is neither"):
        quote_paths(["-m", "data.root=c,e"])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"data\.root=a,b is one path and also 2"):
        quote_paths(["-m", "data.root=a,b"])
