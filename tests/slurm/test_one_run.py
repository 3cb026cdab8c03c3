"""Whatever a cluster does to a run of two processes on two nodes, it ends with the bits of one that nothing
happened to."""

import os
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm


def usr1(cluster, job):
    cluster.ask("scancel", "--signal=USR1", job)


def requeue(cluster, job):
    cluster.ask("scontrol", "requeue", job)


def preempt(cluster, job):
    nodes = ["--nodelist=n1,n2", "--nodes=2", "--exclusive", "--partition=urgent", "--output=/dev/null"]
    cluster.submit("sleep 1", *nodes)


def take_down(cluster, job):
    cluster.ask("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    cluster.ask("scontrol", "update", "nodename=n2", "state=resume")


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


DISTURBED = {
    "told by SIGUSR1": (usr1, "SIGUSR1"),
    "requeued by hand": (requeue, "SIGTERM"),
    "preempted with a time of grace": (preempt, "SIGTERM"),
    "a node is taken down": (take_down, "SIGTERM"),
}


@pytest.mark.parametrize("case", DISTURBED)
def test_a_job_saves_queues_itself_again_and_ends_with_the_same_bits(cluster, runs, case):
    disturb, signal = DISTURBED[case]
    name = case.replace(" ", "_")
    job = runs.submit(name)
    runs.until_step(name, 20)
    disturb(cluster, job)
    cluster.wait(job, 90, "COMPLETED")
    assert cluster.state(job)["Restarts"] == "1"
    (resumed,) = runs.record(name)["resumes"]
    assert 20 <= resumed["step"] < 100, runs.said(name)
    assert f"{signal}: saving" in runs.said(name) and "Traceback" not in runs.said(name)
    runs.assert_same_end(name)


def test_a_node_that_dies_costs_the_steps_since_the_last_checkpoint_and_no_bit(cluster, runs):
    job = runs.submit("dead_node")
    runs.until_step("dead_node", 30)
    cluster.kill_node("n2")
    clusters_state = cluster.wait(job, 60, "PENDING", "NODE_FAIL")
    assert clusters_state["JobState"] == "PENDING"
    cluster.start_node("n2")
    cluster.wait(job, 90, "COMPLETED")
    said = runs.said("dead_node")
    assert "another process of the run was lost" in said and "Traceback" not in said, said
    runs.assert_same_end("dead_node")


def test_a_rank_that_is_killed_leaves_an_interrupted_run_that_the_same_command_ends(cluster, runs):
    job = runs.submit("killed_rank")
    runs.until_step("killed_rank", 30)
    (process,) = pids_of(f"{runs.place}/killed_rank", "SLURM_PROCID=1")
    os.kill(process, signal.SIGKILL)
    cluster.wait(job, 30, "FAILED")
    assert cluster.state(job)["Restarts"] == "0"
    record, said = runs.record("killed_rank"), runs.said("killed_rank")
    assert (record["status"], record["reason"].partition(" (")[0]) == (
        "interrupted",
        "another process of the run was lost",
    ), said
    assert "Traceback" not in said, said
    cluster.wait(runs.submit("killed_rank", seconds=0), 60, "COMPLETED")
    runs.assert_same_end("killed_rank")


def test_scancel_saves_and_does_not_queue_again(cluster, runs):
    job = runs.submit("cancelled")
    runs.until_step("cancelled", 20)
    cluster.ask("scancel", job)
    assert cluster.wait(job, 40, "CANCELLED")["Restarts"] == "0"
    record = runs.record("cancelled")
    assert record["status"] == "interrupted" and "saved at step" in record["reason"], runs.said("cancelled")
    assert "requeued" not in runs.said("cancelled")


def test_a_time_limit_that_sigusr1_tells_of_is_met_again_and_again(cluster, runs):
    job = runs.told_in_time
    cluster.wait(job, 200, "COMPLETED")
    resumes = runs.record("told_in_time")["resumes"]
    assert int(cluster.state(job)["Restarts"]) == len(resumes) >= 1, runs.said("told_in_time")
    runs.assert_same_end("told_in_time")


def test_a_time_limit_that_nothing_tells_of_leaves_a_saved_run(cluster, runs):
    cluster.wait(runs.not_told, 100, "TIMEOUT")
    record = runs.record("not_told")
    assert record["status"] == "interrupted" and "saved at step" in record["reason"], runs.said("not_told")
    cluster.wait(runs.submit("not_told", nodes="n3", seconds=0), 60, "COMPLETED")
    runs.assert_same_end("not_told")
