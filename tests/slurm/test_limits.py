"""A sweep on a SLURM that takes few jobs at a time, and by a process that is killed while it submits."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from vitlab.sweeps import loop
from vitlab.sweeps.jobs import Sweep

pytestmark = pytest.mark.slurm

HERE = Path(__file__).parent


def load(name):
    spec = spec_from_file_location(name, HERE / f"{name}.py")
    spec.loader.exec_module(module := module_from_spec(spec))
    return module


clusters, light = load("cluster"), load("light")


@contextmanager
def one_node(home, **limits):
    """Brings up a SLURM of one node."""
    if missing := clusters.missing():
        pytest.skip(f"SLURM is not here and cannot be installed: {', '.join(missing)} missing")
    built = clusters.Cluster(home, 1, 8, "PartitionName=batch Nodes=n1 Default=YES State=UP", **limits)
    try:
        built.start()
        yield built
    finally:
        built.stop()


@contextmanager
def asking(cluster, folder, monkeypatch):
    """Yields a sweep's folder, in a process that asks this SLURM."""
    monkeypatch.chdir(folder)
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster.environment[name])
    yield folder / "40%a of 'them'"
    cluster.ask("scancel", "--user", str(os.getuid()))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A SLURM that knows six jobs at a time, also of those that have ended, and arrays of ten."""
    home = tmp_path_factory.mktemp("small") / "home"
    with one_node(home, min_job_age=2, more="MaxJobCount=6\nMaxArraySize=10") as built:
        yield built


@pytest.fixture
def folder(small, tmp_path, monkeypatch):
    with asking(small, tmp_path, monkeypatch) as place:
        yield place


@pytest.fixture
def remembered(tmp_path_factory, tmp_path, monkeypatch):
    """A sweep's folder on a SLURM that tells of ended jobs, as most do for some minutes."""
    home = tmp_path_factory.mktemp("remembers") / "home"
    with one_node(home) as built, asking(built, tmp_path, monkeypatch) as place:
        yield place


def starts(folder):
    """Returns how often each job began."""
    return Counter(
        line.split()[0] for line in (folder / "notes.txt").read_text().splitlines() if "started" in line
    )


def test_more_jobs_than_the_cluster_takes_are_submitted_in_portions(folder, monkeypatch):
    monkeypatch.setattr(loop, "FULL_SECONDS", 2.0)
    said = []
    sweep = light.run(folder, ["done"] * 12, said.append)
    assert {job.status for job in sweep.jobs} == {"completed"}, said
    assert starts(folder) == {str(number): 1 for number in range(12)}
    assert any(
        "SLURM takes no more for now: sbatch: error: Slurm temporarily unable" in line for line in said
    )
    assert all((folder / "logs" / f"{number}.log").read_text().count("a line") == 1 for number in range(12))


@pytest.fixture
def sbatch_that(tmp_path):
    """Returns a PATH whose sbatch submits, and then does what it is told."""

    def then(words):
        (program := tmp_path / "bin" / "sbatch").parent.mkdir()
        sbatch = shutil.which("sbatch", path=clusters.PROGRAMS)
        submit = f'setpriv --pdeathsig KILL {sbatch} "$@"'  # ends with it, as sbatch itself would
        program.write_text(f"#!/bin/bash\n{submit}\n{words}\n")
        program.chmod(0o755)
        return f"{program.parent}:{os.environ['PATH']}"

    return then


def test_a_process_that_is_killed_once_sbatch_has_answered_submits_no_job_twice(folder, sbatch_that):
    whats = ["wait:5", "done", "wait:5"]
    killed = subprocess.run(
        [sys.executable, str(HERE / "light.py"), str(folder), *whats],
        env=os.environ | {"PATH": sbatch_that("kill -9 $PPID")},
        capture_output=True,
    )
    assert killed.returncode == -9
    assert [job.place for job in Sweep.load(folder).jobs] == [None] * 3  # it wrote no id down
    said = []
    sweep = light.run(folder, whats, said.append)
    assert [job.status for job in sweep.jobs] == ["completed"] * 3, said
    assert starts(folder) == {"0": 1, "1": 1, "2": 1}
    assert not any("submitted" in line for line in said)


def test_what_slurm_took_although_its_answer_came_too_late_is_not_submitted_again(
    folder, sbatch_that, monkeypatch
):
    late = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    monkeypatch.setenv("PATH", sbatch_that(f"echo '{late}' >&2; exit 1"))
    said = []
    sweep = light.run(folder, ["wait:5"] * 3, said.append)
    assert not any("submitted" in line for line in said)
    assert [job.status for job in sweep.jobs] == ["completed"] * 3, said
    assert starts(folder) == {"0": 1, "1": 1, "2": 1}


def test_what_has_ended_before_the_queue_is_asked_is_not_submitted_again(
    remembered, sbatch_that, monkeypatch
):
    late = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    monkeypatch.setenv("PATH", sbatch_that(f"sleep 6; echo '{late}' >&2; exit 1"))
    said = []
    sweep = light.run(remembered, ["done"] * 3, said.append)
    assert [job.status for job in sweep.jobs] == ["completed"] * 3, said
    assert starts(remembered) == {"0": 1, "1": 1, "2": 1}


def test_a_job_that_is_held_waits_and_says_so_until_it_is_released(folder, small):
    said = []

    def say(line):
        said.append(line)
        if "waits: JobHeldUser" in line:
            small.ask("scontrol", "release", re.search(r"\((\d+)_0\)", line)[1])

    sweep = light.run(folder, ["done"], say, hold=True)
    assert sweep.jobs[0].status == "completed" and sum("waits" in line for line in said) == 1, said
