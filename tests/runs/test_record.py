"""A run folder tells how its run ended, whatever way that was."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from vitlab.runs.record import Run, discard_unstarted, held, recorded
from vitlab.runs.status import status_of
from vitlab.slurm import cluster_here


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
        (KeyboardInterrupt(), "interrupted", "SIGINT, at once, after 0 s", 130),
        (SystemExit(1), "interrupted", "SIGINT, at once, after 0 s", 130),
        (SIGTERMException(), "interrupted", "SIGTERM, at once, after 0 s", 143),
        (SystemExit(3), "failed", "SystemExit: 3", 3),
    ],
    ids=["error", "Ctrl-C", "Lightning's Ctrl-C", "Lightning's SIGTERM", "sys.exit"],
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
    for name in ("thesis.txt", "diary.log"):
        foreign = tmp_path / name.partition(".")[0]
        foreign.mkdir()
        (foreign / name).touch()
        discard_unstarted(foreign)
        assert (foreign / name).is_file()


def begin_nothing(folder, times):
    """Takes a folder, in which nothing begins, so often; ends in an error where another has it too."""
    for _ in range(times):
        try:
            with held(folder):
                (alone := folder.with_name("alone")).touch(exist_ok=False)
                alone.unlink()
                discard_unstarted(folder)
        except ValueError as error:
            assert "another process is at work" in str(error)


def test_of_processes_that_want_one_folder_and_remove_it_again_none_stumbles_over_another(tmp_path):
    start = multiprocessing.get_context("fork").Process
    processes = [start(target=begin_nothing, args=(tmp_path / "run", 100)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4


LOCKS = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_two_processes_never_work_on_one_run_and_a_killed_one_lets_go(run, tmp_path):
    command = [sys.executable, "-c", LOCKS, str(tmp_path / ".lock")]
    with subprocess.Popen([*command, "600"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process is at work on the run"), held(tmp_path):
            pass
        child.kill()
    with held(tmp_path):
        assert "BlockingIOError" in subprocess.run([*command, "0"], capture_output=True, text=True).stderr
    assert subprocess.run([*command, "0"], capture_output=True, text=True).stdout == "held\n"


def test_going_on_with_other_code_is_said_and_recorded(run, tmp_path, caplog):
    Run(tmp_path, run.record | {"git": {"commit": "f00", "diff": ""}, "python": "2.7"}).write()
    again = Run.open(tmp_path)
    with caplog.at_level(logging.WARNING):
        again.resume(step=4, config=again.record["config"])
    (warning,) = caplog.messages
    (resumed,) = record(tmp_path)["resumes"]
    assert any(line.startswith("python was 2.7, is ") for line in resumed["changed"]) and all(
        line in warning for line in resumed["changed"]
    )
    assert any(line.startswith("git") for line in resumed["changed"])


def test_durations_add_up_over_the_starts_of_a_run(run, tmp_path):
    time.sleep(0.05)
    run.took("setup")
    run.took("fit")
    run.end("interrupted", "SIGTERM")
    again = Run.open(tmp_path)
    again.resume(step=0, config=again.record["config"])
    time.sleep(0.05)
    again.took("setup")
    again.end("completed")
    facts = record(tmp_path)
    assert facts["durations"]["setup"] >= 0.1 > facts["durations"]["fit"]
    assert facts["seconds"] >= 0.1 and len(facts["resumes"]) == 1


def test_a_record_tells_its_process_from_a_later_one_with_the_same_number(run, tmp_path):
    assert status_of(tmp_path) == "running"
    boot, tick = run.record["process_began"].split()
    for changed in (
        {"process_began": f"{boot} {int(tick) + 1}"},
        {"process_began": f"another-boot {tick}"},
        {"process": 2**22 + 1},
    ):
        Run(tmp_path, run.record | changed).write()
        assert status_of(tmp_path) == "interrupted"
    Run(tmp_path, run.record | {"host": "another", "process": 2**22 + 1}).write()
    assert status_of(tmp_path) == "running"


def test_a_run_of_another_machine_that_is_silent_no_longer_runs(run, tmp_path):
    Run(tmp_path, run.record | {"host": "another"}).write()
    os.utime(tmp_path / "run.json", (time.time() - 300,) * 2)
    assert status_of(tmp_path) == "running"
    os.utime(tmp_path / "run.json", (time.time() - 700,) * 2)
    assert status_of(tmp_path) == "interrupted"
    of_before = {key: value for key, value in run.record.items() if key != "heartbeat_seconds"}
    Run(tmp_path, of_before | {"host": "another"}).write()
    os.utime(tmp_path / "run.json", (time.time() - 700,) * 2)
    assert status_of(tmp_path) == "running"  # it had no heartbeat


def test_a_run_in_a_job_of_slurm_is_there_as_long_as_squeue_knows_the_job(run, tmp_path, monkeypatch):
    cluster_here.cache_clear()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "scontrol").write_text("#!/bin/sh\necho 'ClusterName             = here'\n")
    (programs / "squeue").write_text("#!/bin/sh\nprintf '7_3\\n9\\n'\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    try:
        for job, cluster, status in (
            ("7_3", "here", "running"),
            ("9", "here", "running"),
            ("7", "here", "interrupted"),
            ("7", "elsewhere", "running"),  # which this squeue does not know: its heartbeat counts
        ):
            told = {"host": "another", "slurm": {"job": job, "cluster": cluster, "restarts": "0"}}
            Run(tmp_path, run.record | told).write()
            assert status_of(tmp_path) == status, (job, cluster)
    finally:
        cluster_here.cache_clear()


def test_a_run_tells_that_it_is_there(run, tmp_path, monkeypatch):
    monkeypatch.setattr("vitlab.runs.record.HEARTBEAT_SECONDS", 0.05)
    with recorded(run):
        os.utime(tmp_path / "run.json", (0, 0))
        time.sleep(0.3)
        assert (tmp_path / "run.json").stat().st_mtime > time.time() - 10
