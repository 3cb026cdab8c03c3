"""A run folder tells how its run ended, whatever way that was."""

import json

import pytest

from vitlab.runs import Run, discard_unstarted, recorded


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, {"seed": 3})


def test_a_run_is_running_until_it_ends(run, tmp_path):
    assert record(tmp_path)["status"] == "running"
    with recorded(run):
        run.update(metrics={"test/accuracy": 0.5})
    facts = record(tmp_path)
    assert facts["status"] == "completed" and facts["metrics"] == {"test/accuracy": 0.5}
    assert facts["seconds"] >= 0 and facts["started"] <= facts["ended"]
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


class SIGTERMException(SystemExit):
    """Named as Lightning's."""


@pytest.mark.parametrize(
    ("error", "status", "reason", "code"),
    [
        (ValueError("two\nlines"), "failed", "ValueError: two lines", None),
        (KeyboardInterrupt(), "interrupted", "SIGINT after 0 s", 130),
        (SystemExit(1), "interrupted", "SIGINT after 0 s", 130),
        (SIGTERMException(), "interrupted", "SIGTERM after 0 s", 143),
    ],
    ids=["error", "Ctrl-C", "Lightning's Ctrl-C", "Lightning's SIGTERM"],
)
def test_an_end_before_the_end_is_recorded_and_goes_on_upwards(run, tmp_path, error, status, reason, code):
    with pytest.raises(type(error) if code is None else SystemExit) as raised, recorded(run):
        raise error
    facts = record(tmp_path)
    assert (facts["status"], facts["reason"]) == (status, reason)
    assert code is None or raised.value.code == code
    assert ("traceback" in facts) == (status == "failed")


def test_a_folder_takes_one_run_only(run, tmp_path):
    with pytest.raises(ValueError, match="already holds a run"):
        Run.start(tmp_path, {"seed": 4})
    assert record(tmp_path)["seed"] == 3


def test_only_a_folder_without_a_run_is_discarded(run, tmp_path):
    discard_unstarted(tmp_path)
    assert (tmp_path / "run.json").is_file()
    empty = tmp_path / "empty"
    (empty / ".hydra").mkdir(parents=True)
    (empty / "train.log").touch()
    discard_unstarted(empty)
    assert not empty.exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    discard_unstarted(foreign)
    assert (foreign / "thesis.txt").is_file()
