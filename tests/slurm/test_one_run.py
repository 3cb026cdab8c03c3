"""Whatever a cluster does to a run of two processes on two nodes, it ends with the bits of one that nothing
happened to."""

import os
import signal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

SPEC = spec_from_file_location("cluster", Path(__file__).parent / "cluster.py")
SPEC.loader.exec_module(clusters := module_from_spec(SPEC))


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


class Disturb:
    """What happens to a job while it trains on its two nodes."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder

    def told(self, job, nodes):
        self.cluster.ask("scancel", "--signal=USR1", job)

    def requeued(self, job, nodes):
        self.cluster.ask("scontrol", "requeue", job)

    def preempted(self, job, nodes):
        place = [f"--nodelist={nodes}", "--nodes=2", "--exclusive", "--partition=urgent"]
        self.cluster.submit("sleep 1", *place, "--output=/dev/null")

    def taken_down(self, job, nodes):
        node = f"nodename={nodes.partition(',')[2]}"
        self.cluster.ask("scontrol", "update", node, "state=down", "reason=test")

    def dead_node(self, job, nodes):
        self.cluster.kill_node(nodes.partition(",")[2])

    def killed_rank(self, job, nodes):
        for process in pids_of(str(self.folder / "killed_rank"), "SLURM_PROCID=1"):
            os.kill(process, signal.SIGKILL)

    def cancelled(self, job, nodes):
        self.cluster.ask("scancel", job)


PLACES = {
    "told": "n4,n5",
    "requeued": "n6,n7",
    "preempted": "n8,n9",
    "taken_down": "n10,n11",
    "dead_node": "n12,n13",
    "killed_rank": "n14,n15",
    "cancelled": "n14,n15",
}


@pytest.fixture(scope="module")
def disturbed(cluster, runs):
    """The trainings, each of which something happens to once it is at step 20; none waits for another."""
    disturb, waiting = Disturb(cluster, runs.place), dict(PLACES)
    for name, nodes in PLACES.items():
        runs.jobs[name] = runs.submit(name, nodes=nodes, slow="0.3 0")

    def are_all():
        for name in [name for name in waiting if runs.has_told(name, 20)]:
            getattr(disturb, name)(runs.jobs[name], waiting.pop(name))
        return not waiting

    clusters.wait_until(are_all, 150, lambda: f"step 20 of {', '.join(waiting)}")
    return runs


@pytest.mark.parametrize("name", ["told", "requeued", "preempted", "taken_down"])
def test_a_job_saves_is_queued_again_and_ends_with_the_same_bits(cluster, disturbed, name):
    if name == "taken_down":
        cluster.resume_node("n11")
    state = cluster.wait(disturbed.jobs[name], 150, "COMPLETED")
    assert state["Restarts"] == "1"
    (resumed,) = disturbed.record(name)["resumes"]
    said = disturbed.said(name)
    assert 20 <= resumed["step"] < 100 and "Traceback" not in said, said
    assert f"SIG{'USR1' if name == 'told' else 'TERM'}: saving" in said
    disturbed.assert_same_end(name)


def test_a_node_that_dies_costs_the_steps_since_the_last_checkpoint_and_no_bit(cluster, disturbed):
    job = disturbed.jobs["dead_node"]
    cluster.wait(job, 60, "PENDING")
    cluster.begin_node("n13")
    state = cluster.wait(job, 150, "COMPLETED")
    assert int(state["Restarts"]) == len(disturbed.record("dead_node")["resumes"]) == 1
    said = disturbed.said("dead_node")
    assert "another process of the run was lost" in said and "Traceback" not in said, said
    disturbed.assert_same_end("dead_node")


def test_a_rank_that_is_killed_leaves_an_interrupted_run_that_the_same_command_ends(cluster, disturbed):
    assert cluster.wait(disturbed.jobs["killed_rank"], 60, "FAILED")["Restarts"] == "0"
    record, said = disturbed.record("killed_rank"), disturbed.said("killed_rank")
    assert record["status"] == "interrupted", said
    assert record["reason"].startswith("another process of the run was lost (") and "Traceback" not in said
    cluster.wait(disturbed.submit("killed_rank"), 150, "COMPLETED")
    disturbed.assert_same_end("killed_rank")


def test_scancel_saves_and_does_not_queue_again(cluster, disturbed):
    assert cluster.wait(disturbed.jobs["cancelled"], 40, "CANCELLED")["Restarts"] == "0"
    record, said = disturbed.record("cancelled"), disturbed.said("cancelled")
    assert record["status"] == "interrupted" and "saved at step" in record["reason"], said
    assert "requeued" not in said


def test_a_time_limit_that_sigusr1_tells_of_costs_no_bit(cluster, runs):
    state = cluster.wait(runs.jobs["told_in_time"], 240, "COMPLETED")
    resumes = runs.record("told_in_time")["resumes"]
    assert int(state["Restarts"]) >= len(resumes) >= 1, runs.said("told_in_time")  # some came before the run
    runs.assert_same_end("told_in_time")


def test_a_time_limit_that_nothing_tells_of_leaves_a_saved_run(cluster, runs):
    cluster.wait(runs.jobs["not_told"], 120, "TIMEOUT")
    record = runs.record("not_told")
    assert record["status"] == "interrupted" and "saved at step" in record["reason"], runs.said("not_told")
    cluster.wait(runs.submit("not_told", nodes="n3"), 150, "COMPLETED")
    runs.assert_same_end("not_told")
