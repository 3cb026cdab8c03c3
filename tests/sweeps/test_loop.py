"""No job takes another with it, none that is complete runs again, and a signal leaves a sweep that can go
on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from vitlab.sweeps.jobs import Job, Sweep
from vitlab.sweeps.local import slots

PROGRAM = Path(__file__).parent / "sweep.py"
NINE = ["fine", "raise", "fine", "exit", "kill", "fine", "memory", "nan", "fine"]


def load_program():
    spec = spec_from_file_location("sweep_of_small_jobs", PROGRAM)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run = load_program().run


def notes(folder, word):
    file = folder / "notes.txt"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [number for number, said in lines if said == word]


def wait_until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("parallel", [1, 3])
def test_jobs_that_die_in_five_ways_take_no_other_with_them_and_what_is_complete_runs_once(
    tmp_path, parallel
):
    sweep, number = run(tmp_path, NINE, parallel=parallel, memory_limit_gib=0.5)
    assert number is None
    assert {job.varied["what"]: job.status for job in sweep.jobs} == {
        "fine": "completed",
        "raise": "failed",
        "exit": "failed",
        "kill": "interrupted",
        "memory": "failed",
        "nan": "failed",
    }
    reasons = {job.varied["what"]: job.reason for job in sweep.jobs}
    assert reasons["fine"] is None
    assert reasons["raise"] == "exit status 1: RuntimeError: raised"
    assert reasons["exit"] == "exit status 3: a line of what is under way"
    assert reasons["kill"] == "killed by SIGKILL, as the system does when memory is short"
    assert reasons["memory"] == "exit status 1: MemoryError"
    assert reasons["nan"] == "Diverged: train/loss is nan at step 5"

    again, _ = run(tmp_path, NINE, parallel=parallel)
    assert notes(tmp_path, "started")[9:] == ["4"]  # what was killed goes on, what failed waits to be asked
    assert [job.status for job in again.jobs] == [job.status for job in sweep.jobs]
    assert [job.attempts for job in again.jobs] == [1, 1, 1, 1, 2, 1, 1, 1, 1]


def test_a_crash_of_its_own_is_a_failure(tmp_path):
    sweep, _ = run(tmp_path, ["crash", "fine"])
    assert [(job.status, job.reason) for job in sweep.jobs] == [
        ("failed", "killed by SIGSEGV"),
        ("completed", None),
    ]


def test_a_job_that_is_killed_leaves_no_worker_behind(tmp_path):
    run(tmp_path, ["leave"])
    (worker,) = re.findall(r"worker:(\d+)", (tmp_path / "notes.txt").read_text())
    wait_until(
        lambda: not Path(f"/proc/{worker}").exists() or " Z " in Path(f"/proc/{worker}/stat").read_text()
    )


# SIGUSR1 is how SLURM tells a job, here the sweep as a whole, that its time is up; to save is all that its
# own jobs are to do
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_lets_the_running_jobs_save_and_the_sweep_goes_on_later(tmp_path, monkeypatch, number):
    if number == signal.SIGUSR1:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    whats = ["fine", "wait:30", "wait:30", "fine"]
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path), "2", *whats], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: set(notes(tmp_path, "started")) >= {"1", "2"})
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number, out
    assert sorted(notes(tmp_path, "saved")) == ["1", "2"]
    assert [job.status for job in Sweep.read(tmp_path).jobs] == [
        "completed",
        "interrupted",
        "interrupted",
        "waiting",
    ]
    sweep, ended_by = run(tmp_path, whats, parallel=2)
    assert ended_by is None
    assert [job.attempts for job in sweep.jobs] == [1, 2, 2, 1]
    assert {job.status for job in sweep.jobs} == {"completed"}


def test_a_second_ctrl_c_ends_jobs_that_do_not_listen(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path), "1", "deaf"], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: notes(tmp_path, "deaf") == ["0"])
    process.send_signal(signal.SIGINT)
    assert "once more to end them at once" in "".join(process.stdout.readline() for _ in range(2))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    (job,) = Sweep.read(tmp_path).jobs
    assert (job.status, job.reason) == (
        "interrupted",
        "killed by SIGKILL, as the system does when memory is short",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_jobs_of_a_sweep_that_is_killed_save_and_the_same_sweep_goes_on(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path), "2", "wait:30", "fine"], stdout=subprocess.DEVNULL
    )
    wait_until(lambda: "0" in notes(tmp_path, "started") and (tmp_path / "1" / "run.json").exists())
    wait_until(
        lambda: json.loads((tmp_path / "1" / "run.json").read_text() or "{}").get("status") == "completed"
    )
    process.kill()
    process.wait()
    wait_until(lambda: notes(tmp_path, "saved") == ["0"])
    assert [job.status for job in Sweep.read(tmp_path).jobs] == ["interrupted", "completed"]


def test_a_job_that_another_process_still_runs_is_waited_for_and_not_started_twice(tmp_path):
    sweep = Sweep(tmp_path, load_program().FACTS, [Job(0, [], {"what": "wait:1"})])
    sweep.jobs[0].status = "running"
    sweep.write()
    orphan = subprocess.Popen(
        [sys.executable, str(PROGRAM.with_name("job.py")), str(tmp_path / "0"), "wait", "1"],
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: notes(tmp_path, "started") == ["0"])
    said = []
    again, _ = run(tmp_path, [], said.append)
    orphan.wait()
    assert [job.status for job in again.jobs] == ["completed"]
    assert notes(tmp_path, "started") == ["0"]
    assert said == [
        "job 0 still runs in a process that an earlier call started; waiting for it",
        "job 0 completed after 1 s: best/val/accuracy 0.5000  [1 of 1 ended]",
    ]


HOLDS = """
import sys
from pathlib import Path
from vitlab.sweeps.jobs import Sweep
with Sweep(Path(sys.argv[1]), {}).held():
    print("held")
"""


def test_two_processes_do_not_work_on_one_sweep(tmp_path):
    sweep = Sweep(tmp_path, {})
    other = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with sweep.held():
        refused = subprocess.run(other, capture_output=True, text=True).stderr
    assert "ValueError: another process is at work on the sweep in" in refused
    assert subprocess.run(other, capture_output=True, text=True).stdout == "held\n"


def test_jobs_side_by_side_share_out_gpus_round_robin_and_cores_evenly(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    sweep, _ = run(tmp_path, ["wait:1"] * 3, parallel=3)
    places = [json.loads((sweep.folder_of(job) / "run.json").read_text())["place"] for job in sweep.jobs]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["2", "5", "2"]
    assert {place["OMP_NUM_THREADS"] for place in places} == {str(max(1, len(os.sched_getaffinity(0)) // 3))}
    assert slots(1, {"CUDA_VISIBLE_DEVICES": "2,5"})[0].environment == {
        "CUDA_VISIBLE_DEVICES": "2,5"
    }  # one at a time has the whole machine


def test_a_damaged_sweep_file_is_refused_in_words(tmp_path):
    (tmp_path / "sweep.json").write_text('{"metric": "best/val')
    with pytest.raises(ValueError, match="cannot be read"):
        Sweep.read(tmp_path)
