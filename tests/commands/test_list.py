"""The runs in a folder, each with its true status, also where a process was killed or a record is damaged."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest

from vitlab.commands.list import _best, table
from vitlab.sweeps.jobs import Job, Sweep

STARTS_AND_WAITS = """
import json, sys, time
from pathlib import Path
from vitlab.runs.status import this_process
record = {"status": "running", "started": "2026-11-21T10:00:00+00:00", "config": {"name": "killed"}}
record |= this_process()
(Path(sys.argv[1]) / "run.json").write_text(json.dumps(record))
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def record(tmp_path):
    """Writes a run's record by hand: what a list reads of it, and values of one's own."""

    def write(folder, started, **facts):
        path = tmp_path / "outputs" / folder
        path.mkdir(parents=True, exist_ok=True)
        config = {
            "name": folder.partition("/")[0],
            "callbacks": {"best": {"monitor": "val/loss", "mode": "min"}},
        }
        known = {
            "status": "completed",
            "started": f"2026-11-{started}+00:00",
            "seconds": 75.0,
            "config": config,
            "reason": None,
        }
        (path / "run.json").write_text(json.dumps(known | facts))
        return path

    return write


def test_every_run_is_listed_with_its_true_status_best_metric_and_duration(vitlab, record, tmp_path):
    record(
        "late/run", "03T10:00:00", metrics={"best/val/accuracy": 0.9876, "test/accuracy": 0.5}, seconds=3725.0
    )
    failed = record("early/run", "01T10:00:00", status="failed", reason="ValueError: no", metrics={})
    rows = [{"step": step, "val/loss": loss} for step, loss in ((1, 2.0), (2, 1.25), (3, 1.5))]
    (failed / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record("middle/run", "02T10:00:00", metrics={"test/accuracy": 0.25}, seconds=4.0)
    damaged = record("cut/run", "01T10:00:00") / "run.json"
    damaged.write_text(damaged.read_text()[:-9])
    (tmp_path / "outputs" / "half").mkdir()
    (tmp_path / "outputs" / "half" / "run.json").write_text('{"status": "completed", "started": 3}')

    ended = vitlab("list")
    assert ended.status == 0 and not ended.err
    lines = ended.out.splitlines()
    assert len(lines) == 6
    told = {line.split()[-1]: line for line in lines}
    assert [line.split()[-1] for line in lines[-3:]] == ["early/run", "middle/run", "late/run"]  # by time
    for words, folder in (
        (("late", "completed", "val/accuracy 0.9876", "1 h 02 min"), "late/run"),
        (
            ("early", "failed", "val/loss 1.2500", "1 min 15 s"),
            "early/run",
        ),  # the best so far, from what was logged
        (("middle", "completed", "test/accuracy 0.2500", "4 s"), "middle/run"),
        (("damaged",), "cut/run"),
        (("damaged",), "half"),
    ):
        assert all(word in told[folder] for word in words), told[folder]
    assert len({line.index(line.split()[-1]) for line in lines}) == 1  # aligned

    listed = {
        run["name"]: run for run in json.loads(vitlab("list", "--json").out) if run["status"] != "damaged"
    }
    assert listed["early"]["reason"] == "ValueError: no" and listed["early"]["best"] == {
        "metric": "val/loss",
        "value": 1.25,
    }


def test_a_run_whose_process_lives_is_running_and_one_that_was_killed_is_interrupted(vitlab, tmp_path):
    folder = tmp_path / "outputs" / "run"
    folder.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "started\n"
        alive = json.loads(vitlab("list", "--json").out)
        child.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while (
            json.loads(vitlab("list", "--json").out)[0]["status"] == "running"
        ):  # also before its parent has buried it
            assert time.monotonic() < deadline
    dead = json.loads(vitlab("list", "--json").out)
    assert [run["status"] for run in alive + dead] == ["running", "interrupted"]

    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(
        json.dumps(record | {"host": "another"})
    )  # of whose processes nobody knows here
    assert json.loads(vitlab("list", "--json").out)[0]["status"] == "running"


def test_jobs_of_a_sweep_stand_together_in_their_order_under_a_heading(vitlab, record, tmp_path):
    for number, start in ((10, "02T12:00:00"), (2, "04T12:00:00"), (0, "02T11:00:00")):
        record(f"s/sweep/{number}", start, status="failed" if number == 2 else "completed")
    (tmp_path / "outputs/s/sweep/sweep.json").write_text("{}")
    record("before/run", "01T12:00:00")
    record("between/7", "03T12:00:00")  # a number, but of no sweep
    lines = [line.strip() for line in vitlab("list").out.splitlines()[1:]]
    assert [line.split()[-1] for line in lines] == [
        "before/run",
        "failed",
        "s/sweep/0",
        "s/sweep/2",
        "s/sweep/10",
        "between/7",
    ]
    assert lines[1] == "sweep s/sweep: 2 completed, 1 failed"


def test_a_table_fits_the_terminal_and_keeps_the_end_of_a_folder(tmp_path):
    run = {
        "folder": str(tmp_path / ("b" * 70) / "2026-11-21"),
        "sweep": None,
        "began": "2026-11-21T10:00:00+00:00",
    }
    run |= {
        "kind": "train",
        "name": "n" * 40,
        "status": "interrupted",
        "reason": None,
        "seconds": 61.0,
        "best": {"metric": "val/accuracy_top5", "value": 0.5},
    }
    for width in (100, 120, 200):
        lines = table([run], tmp_path, width)
        assert all(len(line) <= width for line in lines)
        assert lines[1].endswith("11-21") and ("…" in lines[1]) == (width < 180)
    assert "b" * 70 in table([run], tmp_path, None)[1]


def test_listing_is_quick_and_a_wrong_folder_is_said_in_one_line(vitlab, record, tmp_path):
    ended = vitlab("list", "nowhere")
    assert ended.status == 2 and len(ended.err.splitlines()) == 1 and "nowhere is no folder" in ended.err
    (tmp_path / "nothing").mkdir()
    assert vitlab("list", "nothing").out == "no runs in nothing\n"
    record("a/run", "01T10:00:00", metrics={"best/val/accuracy": 0.5})
    program = (
        "import sys; sys.argv = ['vitlab', 'list']\n"
        "from vitlab.cli import main\nmain()\n"
        "heavy = {'torch', 'pytorch_lightning', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "a/run" in ended.stdout


ODD = {
    "deep": "[" * 100_000,
    "deep inside": '{"status": "completed", "config": ' + 900 * '{"a":' + "1" + 901 * "}",
    "a status that is none": '{"status": ["completed"]}',
    "a time before time": '{"status": "completed", "started": "0001-01-01T00:00:00+23:00", "config": {}}',
    "a number too large": (
        '{"status": "completed", "started": "2026-11-01T00:00:00+00:00", "config": {}, "seconds": 1'
        + 400 * "0"
        + "}"
    ),
    "metrics that are none": (
        '{"status": "completed", "started": "2026-11-01T00:00:00+00:00", "config": {}, "metrics": {"best/a":'
        " []}}"
    ),
    "a list": "[]",
    "no text": "\x00",
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD.keys())
def test_a_record_of_any_shape_is_one_damaged_run_and_the_others_are_shown(vitlab, record, content):
    record("sound/run", "01T10:00:00", metrics={"best/val/accuracy": 0.5})
    (record("odd/run", "02T10:00:00") / "run.json").write_text(content)
    ended = vitlab("list")
    assert ended.status == 0 and not ended.err
    (odd,) = [line for line in ended.out.splitlines() if line.endswith("odd/run")]
    assert "damaged" in odd
    assert any("0.5000" in line and line.endswith("sound/run") for line in ended.out.splitlines())
    assert "damaged" in vitlab("report", "outputs").out
    for arguments in (("train", "resume=outputs/odd/run"), ("reproduce", "outputs/odd/run")):
        ended = vitlab(*arguments)
        assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended


def test_a_job_that_its_sweep_gave_up_is_pruned_and_not_interrupted(vitlab, record, tmp_path):
    for number in "012":
        record(
            f"search/s/{number}",
            f"01T10:00:0{number}",
            status="completed" if number == "0" else "interrupted",
            metrics={},
        )
    sweep = Sweep(tmp_path / "outputs" / "search" / "s", {"metric": "val/loss", "direction": "minimize"})
    sweep.jobs = [
        Job(number, [], {}, status) for number, status in enumerate(("completed", "pruned", "interrupted"))
    ]
    sweep.write()
    assert [run["status"] for run in json.loads(vitlab("list", "--json").out)] == [
        "completed",
        "pruned",
        "interrupted",
    ]
    assert "sweep search/s: 1 completed, 1 pruned, 1 interrupted" in vitlab("list").out


def test_a_folder_is_called_by_the_command_that_made_it(vitlab, record):
    record("one/inspected", "01T10:00:00", config={}, command="vitlab inspect checkpoint=best.ckpt")
    record("one/tested", "02T10:00:00", config={}, command="/bin/vitlab test checkpoint=best.ckpt")
    ended = vitlab("list", "--json")
    assert [run["kind"] for run in json.loads(ended.out)] == ["inspect", "test"]


def test_what_predictions_exports_and_reports_are_is_listed_too(vitlab, tmp_path):
    for folder, file in (
        ("predict/a", "predict.log"),
        ("export/b", "export.log"),
        ("train/s/report", "report.html"),
    ):
        (tmp_path / "outputs" / folder).mkdir(parents=True)
        (tmp_path / "outputs" / folder / file).write_text("")
    listed = {run["kind"]: run["status"] for run in json.loads(vitlab("list", "--json").out)}
    assert listed == {"predict": "written", "export": "written", "report": "written"}
    assert "kind is train, test, predict" in vitlab("list", "--help").out


TIMES = {
    "ended": ({"seconds": 75.0}, 75),
    "killed": ({"status": "running"}, 60),
    "gone on with and ended": ({"seconds": 75.0, "resumes": [{"at": "2026-11-01T12:00:00+00:00"}]}, 75),
    "gone on with and killed": (
        {"seconds": 75.0, "resumes": [{"at": "2026-11-01T12:00:00+00:00"}], "status": "running"},
        135,
    ),
}


@pytest.mark.parametrize(("facts", "seconds"), TIMES.values(), ids=TIMES.keys())
def test_took_is_the_sum_over_the_starts_of_a_run_also_of_one_that_was_killed(vitlab, record, facts, seconds):
    folder = record(
        "a/run", "01T10:00:00", **({"seconds": 0.0, "host": platform.node(), "process": 2**22 + 1} | facts)
    )
    last = (
        datetime.fromisoformat(
            facts.get("resumes", [{"at": "2026-11-01T10:00:00+00:00"}])[-1]["at"]
        ).timestamp()
        + 60
    )
    os.utime(folder / "run.json", (last, last))
    assert [run["seconds"] for run in json.loads(vitlab("list", "--json").out)] == [seconds]


ODD_SWEEPS = {
    "a list": "[]",
    "no jobs": "{}",
    "cut": '{"metric": "val/loss", "jobs": [{"numb',
    "a job without what varied": (
        '{"metric": "val/loss", "direction": "minimize", "jobs": [{"number": 0, "overrides": []}]}'
    ),
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("content", ODD_SWEEPS.values(), ids=ODD_SWEEPS.keys())
def test_a_sweeps_file_of_any_shape_is_named_in_a_line_and_its_jobs_are_runs(
    vitlab, record, tmp_path, content
):
    for number in "01":
        record(
            f"s/odd/{number}",
            f"01T10:00:0{number}",
            metrics={"best/val/accuracy": 0.5},
            overrides=[f"seed={number}"],
        )
    (tmp_path / "outputs/s/odd/sweep.json").write_text(content)
    for command in (("list",), ("report", "outputs", "--out", "told")):
        ended = vitlab(*command)
        assert ended.status == 0, ended.err
        (line,) = ended.err.splitlines()
        assert line.startswith("vitlab: outputs/s/odd/sweep.json cannot be read ("), line
    assert (
        "2 runs: 2 completed" in ended.out
        and "sweep.json cannot be read" in (tmp_path / "told" / "report.md").read_text()
    )


def test_a_test_is_listed_by_the_metric_that_its_objective_names_first(tmp_path):
    metrics = {"test/kappa": 0.4, "test/loss": 0.5, "test/mae": 1.2}
    record = {"metrics": metrics, "config": {}, "objective": {"headline": ["mae", "kappa"]}}
    assert _best(tmp_path, record) == ("test/mae", 1.2)
