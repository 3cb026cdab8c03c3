"""Whatever a cluster, or the wire between two machines, does to a run of two processes, it ends with the bits
of one that nothing happened to."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm


def load(name):
    spec = spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    spec.loader.exec_module(module := module_from_spec(spec))
    return module


trainings, wired = load("runs"), load("machines")
clusters = trainings.clusters


@pytest.fixture
def machines(tmp_path):
    """Skips where nobody may make network namespaces."""
    if shutil.which("ip", path=clusters.PROGRAMS) is None or os.geteuid() != 0:
        pytest.skip("two machines need iproute2 and root")
    found = wired.Machines(tmp_path, trainings.RECIPE)
    try:
        found.build()
    except subprocess.CalledProcessError as error:
        found.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield found
    found.remove()


def test_two_machines_that_lose_each_other_end_in_a_line_and_go_on_to_the_same_bits(machines, runs, tmp_path):
    folder = tmp_path / "lost"

    def start(step):
        """Starts both, and returns them once they are at this step, and crawl."""
        trainings.crawl(folder, step)
        both = machines.start(folder)
        there = partial(trainings.last_step, folder)
        clusters.wait_until(lambda: there() >= step, 150, lambda: machines.said(folder)[-2000:])
        return both

    record = partial(trainings.read, folder)

    both = start(20)
    machines.ip("-n", machines.names["va"], "link", "set", "wire", "down")
    for each in both:  # which hang, without a word, and would do so for half an hour
        assert each.poll() is None
        each.terminate()
    for each in both:
        assert each.wait(100) != 0
    assert record()["status"] == "interrupted"
    assert record()["reason"] == "SIGTERM, while it waited for another process of the run"
    machines.ip("-n", machines.names["va"], "link", "set", "wire", "up")

    both = start(40)
    os.kill(machines.trains_on("vb", folder), signal.SIGKILL)
    for each in both:
        assert each.wait(100) != 0
    assert record()["status"] == "interrupted", machines.said(folder)
    assert record()["reason"].startswith("another process of the run was lost")
    assert "RuntimeError" not in machines.said(folder)  # torchrun's own traceback is not ours

    trainings.crawl(folder, None)
    assert [each.wait(240) for each in machines.start(folder)] == [0, 0], machines.said(folder)
    runs.assert_same_end("two machines", folder)  # as on one, and on a cluster


ARRAY = [
    *("hardware=cpu", "model.depth=1", "model.embed_dim=16", "model.num_heads=2", "data.batch_size=64"),
    *("trainer.max_epochs=2", "callbacks=[default]", "callbacks.evaluation=null", "logger=csv"),
    *("+callbacks.slow._target_=slow.Slow", "trainer.log_every_n_steps=5,10", "sweep.name=array"),
]
"""A sweep of two jobs that differ by what they write down alone."""


def the_guides_line():
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    lines = re.search(r"&& (sbatch --array.*?)\n\n", guide, re.DOTALL)[1]
    return " ".join(line.strip().removesuffix("\\") for line in lines.splitlines())


def test_a_job_of_the_guides_array_hears_sigusr1_and_goes_on_to_the_same_bits(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vitlab = [sys.executable, "-m", "vitlab.cli", "train", "-m"]
    Path("jobs.txt").write_text(cluster.ask(*vitlab, *ARRAY, "sweep.print_commands=true"))
    folder = tmp_path / "outputs" / "train" / "array"
    (folder / "0.slow").write_text("10")
    (job,) = re.findall(r"job (\d+)", cluster.ask("bash", "-c", the_guides_line()))

    clusters.wait_until(lambda: trainings.last_step(folder / "0") >= 9, 90, f"step 10 of job {job}_1")
    cluster.ask("scancel", "--signal=USR1", "--batch", f"{job}_1")  # as the time limit does
    (folder / "0.slow").unlink()
    for number in (1, 2):
        cluster.wait(f"{job}_{number}", 90, "COMPLETED")
    assert cluster.state(f"{job}_1")["Restarts"] == "1"
    records = [json.loads((folder / name / "run.json").read_text()) for name in ("0", "1")]
    assert len(records[0]["resumes"]) == 1 and "resumes" not in records[1]
    assert records[0]["hashes"]["final"] == records[1]["hashes"]["final"]


def test_whatever_queues_a_job_again_costs_no_bit(runs):
    state = runs.disturbed["queued_again"].result()
    said = runs.said("queued_again")
    assert state["Restarts"] == "5" and "Traceback" not in said, said
    steps = [each["step"] for each in runs.record("queued_again")["resumes"]]
    assert len(steps) == 5 and steps == sorted(steps) and steps[0] >= 10, steps
    # told; requeued, preempted, taken down; a node that dies costs the steps since the last checkpoint
    assert (said.count("SIGUSR1: saving"), said.count("SIGTERM: saving")) == (1, 3), said
    assert said.count("another process of the run was lost") == 1 and steps[4] in (steps[3], 80), steps
    runs.assert_same_end("queued_again")


@pytest.fixture(scope="module")
def ended(runs):
    """What SLURM said of each job of a run, and the run's record then."""
    return runs.disturbed["started_again"].result()


def test_a_rank_that_is_killed_leaves_an_interrupted_run(runs, ended):
    state, record = ended["killed_rank"]
    assert state["Restarts"] == "0" and record["status"] == "interrupted"
    assert record["reason"].startswith("another process of the run was lost (")
    assert "Traceback" not in runs.said("started_again")


def test_scancel_saves_and_does_not_queue_again(ended):
    state, record = ended["cancelled"]
    assert state["Restarts"] == "0" and record["status"] == "interrupted"
    assert "SIGTERM, saved at step" in record["reason"]


def test_a_time_limit_that_nothing_tells_of_leaves_a_saved_run(ended):
    state, record = ended["not_told"]
    assert state["Restarts"] == "0" and record["status"] == "interrupted"
    assert "SIGTERM, saved at step" in record["reason"]


def test_a_time_limit_that_sigusr1_tells_of_queues_again_and_costs_no_bit(runs, ended):
    state, record = ended["told_in_time"]
    said = runs.said("started_again")
    assert int(state["Restarts"]) >= 1 and len(record["resumes"]) >= 4, said
    assert said.count("requeued SLURM job") == int(state["Restarts"]) and "SIGUSR1: saving" in said, said
    runs.assert_same_end("started_again")
