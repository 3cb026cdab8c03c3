"""Trainings of two processes to which something happens on the way: once `whole`, to which nothing does, and
two that what happens to a job on a cluster comes over one after the other."""

import json
import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

SPEC = spec_from_file_location("cluster", Path(__file__).parent / "cluster.py")
SPEC.loader.exec_module(clusters := module_from_spec(SPEC))

RECIPE = [
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "data.batch_size=32", "logger=csv"),
    *("model.depth=1", "model.embed_dim=16", "model.num_heads=2", "model.drop_path_rate=0.1"),
    *("trainer.max_epochs=5", "trainer.log_every_n_steps=5", "callbacks=[default]"),
    *("callbacks.evaluation=null", "+callbacks.slow._target_=slow.Slow", "resume=auto"),
]
STEPS = 100
"""Of a run of two processes: five epochs of 1,295 images in batches of 2 x 32."""


def read(folder):
    """Returns the record of a run, or an empty one."""
    file = folder / "run.json"
    return json.loads(file.read_text()) if file.exists() else {}


def last_step(folder):
    """Returns the last step that a run has told of."""
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return max((json.loads(line).get("step", 0) for line in lines if line.endswith("}")), default=0)


def crawl(folder, step):
    """Has a run be slow from a step on; None: no longer."""
    file = Path(f"{folder}.slow")
    file.unlink(missing_ok=True) if step is None else file.write_text(str(step))


class Runs:
    """Trainings on the cluster, each in a folder of its own below `place`."""

    def __init__(self, cluster, place):
        self.cluster, self.place = cluster, place

    def submit(self, name, nodes, *options):
        """Submits a training on two nodes; returns the job's id."""
        shape = ["--nodes=2", "--ntasks-per-node=1", f"--nodelist={nodes}"]
        place = ["trainer.num_nodes=2", "trainer.devices=1", f"hydra.run.dir={self.place}/{name}"]
        log = [f"--output={self.place}/{name}.log", f"--chdir={self.place}"]
        train = " ".join(["srun vitlab train hardware=slurm", *RECIPE, *place])
        return self.cluster.submit(train, *shape, *log, *options)

    def record(self, name):
        return read(self.place / name)

    def said(self, name):
        return (self.place / f"{name}.log").read_text()

    def until_further_on(self, name):
        """Has a run be slow some steps from where it is, and waits until it is there."""
        folder = self.place / name
        crawl(folder, step := last_step(folder) + 10)
        clusters.wait_until(
            lambda: last_step(folder) >= step, 120, lambda: f"{name}: step {last_step(folder)} of {step}"
        )

    def assert_same_end(self, name, folder=None):
        """Fails where a run has not come to the end of one that nothing happened to."""
        found = read(folder or self.place / name)
        assert found["hashes"] == self.record("whole")["hashes"], found


def pids_of(*words):
    """Returns the numbers of the Python processes whose command line and environment have these words."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_text()
            about = command + (place / "environ").read_text()
        except (OSError, UnicodeDecodeError):
            continue
        if "vitlab" in command and "srun" not in command and all(word in about for word in words):
            found.append(int(place.name))
    return found


class QueuedAgain:
    """One job that whatever has a job queued again happens to, one after the other."""

    name, nodes, last = "queued_again", "n1,n2", "n2"

    def __init__(self, runs):
        self.runs, self.cluster, self.folder = runs, runs.cluster, runs.place / self.name

    def told(self, job):
        self.cluster.ask("scancel", "--signal=USR1", job)

    def requeued(self, job):
        self.cluster.ask("scontrol", "requeue", job)

    def preempted(self, job):
        place = [f"--nodelist={self.nodes}", "--nodes=2", "--exclusive", "--partition=urgent"]
        self.cluster.submit("sleep 1", *place, "--output=/dev/null")

    def taken_down(self, job):
        self.cluster.ask("scontrol", "update", f"nodename={self.last}", "state=down", "reason=test")
        self.cluster.wait(job, 60, "PENDING")
        clusters.wait_until(lambda: not pids_of(str(self.folder)), 60, "the end of the job's processes")
        self.cluster.resume_node(self.last)

    def dead_node(self, job):
        self.cluster.kill_node(self.last)
        self.cluster.wait(job, 60, "PENDING")
        self.cluster.begin_node(self.last)

    def happen(self):
        """Goes through all of it; returns what SLURM says of the job at its end."""
        job = self.runs.submit(self.name, self.nodes)
        ways = (self.told, self.requeued, self.preempted, self.taken_down, self.dead_node)
        for times, way in enumerate(ways, start=1):
            self.runs.until_further_on(self.name)
            way(job)
            restarted = partial(self.has_restarted, job, times)
            clusters.wait_until(restarted, 60, lambda: self.cluster.state(job))
        crawl(self.folder, None)
        return self.cluster.wait(job, 150, "COMPLETED")

    def has_restarted(self, job, times):
        return self.cluster.state(job)["Restarts"] == str(times)


class StartedAgain:
    """One run whose jobs end before it does, each in another way; the same command goes on with it."""

    name, nodes = "started_again", "n3,n4"

    def __init__(self, runs):
        self.runs, self.cluster = runs, runs.cluster

    def begin(self, *options):
        """Submits the run, and returns its job's id once it is some steps further on, and crawls."""
        job = self.runs.submit(self.name, self.nodes, *options)
        self.runs.until_further_on(self.name)
        return job

    def end_soon(self, job, seconds):
        """Moves a job's time limit; SLURM looks at limits twice a minute."""
        self.cluster.ask("scontrol", "update", f"jobid={job}", f"EndTime=now+{seconds}")

    def happen(self):
        """Goes through all of it; returns what SLURM said of each job at its end, and the run's record
        then."""
        found = {}

        def ended(way, job, state):
            found[way] = self.cluster.wait(job, 120, state), self.runs.record(self.name)

        job = self.begin()
        for process in pids_of(str(self.runs.place / self.name), "SLURM_PROCID=1"):
            os.kill(process, signal.SIGKILL)
        ended("killed_rank", job, "FAILED")
        job = self.begin()
        self.cluster.ask("scancel", job)
        ended("cancelled", job, "CANCELLED")
        job = self.begin()
        self.end_soon(job, 2)
        ended("not_told", job, "TIMEOUT")
        job = self.begin("--signal=SIGUSR1@5")
        self.end_soon(job, 40)
        clusters.wait_until(
            lambda: self.cluster.state(job)["Restarts"] != "0", 90, lambda: self.cluster.state(job)
        )
        self.cluster.ask("scontrol", "update", f"jobid={job}", "TimeLimit=60")
        crawl(self.runs.place / self.name, None)
        ended("told_in_time", job, "COMPLETED")
        return found


def begin_all(runs, pool: ThreadPoolExecutor) -> dict[str, Future]:
    """Trains `whole`, and has things happen to the others meanwhile."""
    job = runs.submit("whole", "n5,n6")
    futures = {kind.name: pool.submit(kind(runs).happen) for kind in (QueuedAgain, StartedAgain)}
    runs.cluster.wait(job, 120, "COMPLETED")
    assert runs.record("whole")["steps"] == STEPS
    return futures
