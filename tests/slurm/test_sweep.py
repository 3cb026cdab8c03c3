"""A sweep on a cluster ends as one on this machine does, whatever happens to its jobs and to whoever watches
it."""

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

HERE = Path(__file__).parent
SPEC = spec_from_file_location("cluster", HERE / "cluster.py")
SPEC.loader.exec_module(clusters := module_from_spec(SPEC))

SMALL = [
    *("hardware=cpu", "trainer.max_epochs=1", "model.depth=1", "model.embed_dim=16", "model.num_heads=2"),
    *("schedule.warmup_epochs=0", "trainer.log_every_n_steps=2", "callbacks=[default]", "data.batch_size=8"),
    *("callbacks.evaluation=null", "trainer.limit_train_batches=40", "logger=csv"),
    "+callbacks.hitch._target_=hitch.Hitch",
]
KINDS = ["raise", "exit", "fine0", "kill", "slow0", "slow1", *(f"fine{number}" for number in range(1, 7))]
HERE_TOO = KINDS[:3]
ENDS = {"raise": ("failed", "RuntimeError: raised"), "exit": ("failed", "SystemExit: 3")}


class Sweeps:
    """Sweeps of the same jobs in a folder of the test's own."""

    def __init__(self, cluster, place):
        self.cluster, self.place = cluster, place
        self.begun = []
        self.environment = cluster.environment | {"VITLAB_TARGETS": "hitch", "HITCH_SECONDS": "5"}

    def command(self, name, kinds, *more):
        jobs = f"+callbacks.hitch.kind={','.join(kinds)}"
        return [sys.executable, "-m", "vitlab.cli", "train", "-m", *SMALL, jobs, f"sweep.name={name}", *more]

    def begin(self, *arguments):
        """Starts a sweep; what it says is added to a file."""
        with (self.place / "said.txt").open("a") as said:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.place,
                env=self.environment,
                stdout=said,
                stderr=said,
            )
        self.begun.append(process)
        return process

    def folder(self, name):
        return self.place / "outputs" / "train" / name

    def jobs(self, name):
        file = self.folder(name) / "sweep.json"
        jobs = json.loads(file.read_text())["jobs"] if file.exists() else []
        return {job["varied"]["callbacks.hitch.kind"]: job for job in jobs}

    def record(self, name, job):
        file = self.folder(name) / str(job["number"]) / "run.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def log(self, name, job):
        return (self.folder(name) / "logs" / f"{job['number']}.log").read_text()

    def until_at_work(self, kind):
        """Waits until a slow job trains, and returns what SLURM calls it."""
        number = str(KINDS.index(kind))
        history = self.folder("there") / number / "metrics.jsonl"
        clusters.wait_until(lambda: history.exists() and history.read_text(), 120, self.said)
        return self.jobs("there")[kind]["place"]

    def said(self):
        return (self.place / "said.txt").read_text()


@pytest.fixture
def sweeps(cluster, tmp_path):
    found = Sweeps(cluster, tmp_path)
    yield found
    for process in found.begun:
        process.kill()
    cluster.ask("scancel", "--name=there")


def statuses(jobs):
    return {kind: (job["status"], job["reason"]) for kind, job in jobs.items()}


def test_twelve_jobs_of_which_five_are_hit_under_a_watcher_that_is_killed_twice_end_as_on_this_machine(
    sweeps, cluster
):
    on_two = ["sweep.slurm.exclude='n[3-6]'", "sweep.slurm.cpus-per-task=2"]
    slurm = ("there", KINDS, "sweep.engine=slurm", "sweep.slurm.signal=B:SIGUSR1@5", *on_two)
    first = sweeps.begin(*slurm)
    clusters.wait_until(lambda: sweeps.record("there", {"number": 0}), 90, sweeps.said)
    os.kill(first.pid, 9)
    first.wait()
    local = sweeps.begin("here", HERE_TOO)
    second = sweeps.begin(*slurm)
    clusters.wait_until(lambda: "an earlier call started" in sweeps.said(), 90, sweeps.said)
    os.kill(second.pid, 9)
    second.wait()
    clusters.wait_until((sweeps.folder("there") / "3" / "killed").exists, 90, sweeps.said)
    third = sweeps.begin(*slurm)

    limited, preempted = sweeps.until_at_work("slow1"), sweeps.until_at_work("slow0")
    cluster.ask("scontrol", "update", f"jobid={limited}", "EndTime=now+20")
    clusters.wait_until(lambda: cluster.state(limited)["Restarts"] != "0", 60, sweeps.said)
    cluster.ask("scontrol", "update", f"jobid={limited}", "TimeLimit=60")
    room = ["--exclusive", "--partition=urgent", "--output=/dev/null"]
    cluster.submit("sleep 1", *room, f"--nodelist={cluster.state(preempted)['NodeList']}")
    assert third.wait(timeout=600) == 1, sweeps.said()

    jobs = sweeps.jobs("there")
    if jobs["kill"]["status"] == "interrupted":  # it was on its way out when the last watcher came
        assert sweeps.begin(*slurm).wait(timeout=600) == 1, sweeps.said()
        jobs = sweeps.jobs("there")
    whole = {kind: ("completed", None) for kind in KINDS}
    assert statuses(jobs) == whole | ENDS, sweeps.said()
    once = {kind: job["attempts"] for kind, job in jobs.items() if kind != "kill"}
    assert set(once.values()) == {1}  # nothing was submitted twice
    said = {kind: sweeps.log("there", jobs[kind]) for kind in ("slow0", "slow1", "kill")}
    assert "SIGTERM: saving" in said["slow0"], said["slow0"]
    assert "SIGUSR1: saving" in said["slow1"], said["slow1"]
    assert said["kill"].count("vitlab.cli train") == 2, said["kill"]  # its command, which begins each attempt

    assert local.wait(timeout=600) == 1, sweeps.said()
    here = sweeps.jobs("here")
    assert statuses(here) == {kind: statuses(jobs)[kind] for kind in HERE_TOO}, sweeps.said()
    for kind, job in here.items():
        theirs, ours = (sweeps.record(name, job) for name in ("there", "here"))
        assert {key: jobs[kind][key] for key in ("number", "overrides")} == {
            key: job[key] for key in ("number", "overrides")
        }
        assert theirs.get("hashes") == ours.get("hashes"), kind
    ends = [sweeps.record("there", job)["hashes"] for job in jobs.values() if job["status"] == "completed"]
    assert len(ends) == 10 and len({end["final"] for end in ends}) == 1  # also of those that were hit
