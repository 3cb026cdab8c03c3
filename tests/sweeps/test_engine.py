"""A sweep's loop on an engine whose jobs go on without it, as a cluster's do: it leaves, is killed, comes
back, and no job is lost or started twice."""

import json
import os
import signal
import time

import pytest

from vitlab.sweeps.engine import Ended, Stand
from vitlab.sweeps.jobs import Job, Sweep
from vitlab.sweeps.loop import Loop
from vitlab.sweeps.processes import begin_log, how_it_ended
from vitlab.sweeps.sbatch import Refused, as_options, ask_slurm, what_helps
from vitlab.sweeps.slurm import Slurm

FACTS = {"metric": "best/val/accuracy", "direction": "maximize"}


class Cluster:
    """What is in the queue of a cluster of `size` places, and how often each job came there."""

    def __init__(self, size=100):
        self.size = size
        self.queue = []
        self.came = []

    def finish(self, sweep, number, status="completed", **facts):
        self.queue.remove(number)
        (folder := sweep.folder / str(number)).mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps({"status": status, "host": "far away", **facts}))


class OnCluster:
    """An engine over it; `each_time` is called whenever the loop has looked at all of its jobs."""

    outlived = True

    def __init__(self, cluster, each_time=lambda: None):
        self.cluster, self.each_time = cluster, each_time
        self.stopped = []

    def start(self, jobs):
        taken = jobs[: self.cluster.size - len(self.cluster.queue)]
        for job in taken:
            job.place = f"7_{job.number}"
            self.cluster.queue.append(job.number)
            self.cluster.came.append(job.number)
        return len(taken)

    def state(self, job):
        self.each_time()
        if job.number in self.cluster.queue:
            return Stand.UNDER_WAY
        return Stand.NOT_STARTED if job.place is None else Ended()

    def stop(self, jobs, number):
        self.stopped += [job.number for job in jobs]


class Draws:
    """A search of so many jobs, which gives up those that it is told to."""

    def __init__(self, sweep, count, hopeless=()):
        self.sweep, self.count, self.hopeless, self.told = sweep, count, hopeless, []

    def ask(self):
        if len(self.sweep.jobs) == self.count:
            return None
        self.sweep.jobs.append(Job(len(self.sweep.jobs), [], {}))
        return self.sweep.jobs[-1]

    def is_hopeless(self, job):
        return job.number in self.hopeless

    def tell(self, job):
        self.told.append((job.number, job.status))


def grid(folder, count):
    return Sweep.read(folder) or Sweep(folder, FACTS, [Job(number, [], {}) for number in range(count)])


def quiet(line):
    pass


def test_what_a_full_cluster_has_no_room_for_waits_until_something_ends(tmp_path):
    cluster, sweep = Cluster(size=2), grid(tmp_path, 5)

    def end_one():
        if len(cluster.queue) == 2 or len(cluster.came) == 5:
            for number in cluster.queue[:1]:
                cluster.finish(sweep, number)

    assert Loop(sweep, OnCluster(cluster, end_one), quiet).run() is None
    assert cluster.came == [0, 1, 2, 3, 4]
    assert {job.status for job in sweep.jobs} == {"completed"}


def test_a_sweep_that_leaves_takes_in_later_what_ended_and_a_search_asks_for_more(tmp_path):
    cluster, sweep = Cluster(), Sweep(tmp_path, FACTS)
    assert Loop(sweep, OnCluster(cluster), quiet, Draws(sweep, 5), at_once=2).run(detach=True) is None
    assert cluster.came == [0, 1]
    cluster.finish(sweep, 1, metrics={"best/val/accuracy": 0.5})

    later = Sweep.read(tmp_path)
    search, said = Draws(later, 5), []
    Loop(later, OnCluster(cluster), said.append, search, at_once=2).run(detach=True)
    assert cluster.came == [0, 1, 2]
    assert search.told == [(1, "completed")]
    assert "job 1 completed after 0 s: best/val/accuracy 0.5000  [1 ended]" in said
    assert "1 jobs that an earlier call started run, or wait for their turn" in said
    assert [job.place for job in Sweep.read(tmp_path).jobs] == ["7_0", None, "7_2"]


def test_a_signal_to_who_watches_leaves_the_jobs_alone(tmp_path):
    cluster, sweep = Cluster(), grid(tmp_path, 2)
    engine = OnCluster(cluster, lambda: cluster.came and os.kill(os.getpid(), signal.SIGINT))
    assert Loop(sweep, engine, quiet).run() == signal.SIGINT
    assert (cluster.queue, engine.stopped) == ([0, 1], [])
    assert Loop(Sweep.read(tmp_path), OnCluster(cluster), quiet).run(detach=True) is None
    assert cluster.came == [0, 1]


def test_a_sweep_that_is_killed_between_submitting_and_writing_it_down_submits_nothing_twice(tmp_path):
    class Killed(OnCluster):
        def start(self, jobs):
            super().start(jobs)
            raise KeyboardInterrupt

    cluster = Cluster()
    (sweep := grid(tmp_path, 3)).write()
    before = (tmp_path / "sweep.json").read_text()
    with pytest.raises(KeyboardInterrupt):
        Loop(sweep, Killed(cluster), quiet).run()
    (tmp_path / "sweep.json").write_text(before)
    Loop(Sweep.read(tmp_path), OnCluster(cluster), quiet).run(detach=True)
    assert cluster.came == [0, 1, 2]


def test_a_job_that_was_given_up_is_not_run_again_where_nobody_saw_its_end(tmp_path):
    cluster, sweep = Cluster(), Sweep(tmp_path, FACTS)
    engine = OnCluster(cluster, lambda: engine.stopped and os.kill(os.getpid(), signal.SIGINT))
    Loop(sweep, engine, quiet, Draws(sweep, 1, hopeless=[0]), at_once=1).run()
    assert engine.stopped == [0]
    cluster.finish(sweep, 0, "interrupted", reason="SIGTERM, saved at step 5")
    later = Sweep.read(tmp_path)
    assert Loop(later, OnCluster(cluster), quiet, search := Draws(later, 1)).run() is None
    assert search.told == [(0, "pruned")] and cluster.came == [0]
    assert (later.jobs[0].status, later.jobs[0].reason) == ("pruned", "behind the others")


def test_a_job_on_its_way_out_in_another_process_goes_on_in_this_one(tmp_path):
    class Leaving(OnCluster):
        outlived = False
        looks = 0

        def state(self, job):
            self.looks += 1
            return Stand.ELSEWHERE if self.looks < 3 else super().state(job)

    (sweep := grid(tmp_path, 1)).folder_of(sweep.jobs[0]).mkdir(parents=True)
    (tmp_path / "0" / "run.json").write_text('{"status": "interrupted", "reason": "SIGTERM"}')
    cluster = Cluster()
    engine = Leaving(cluster, lambda: [cluster.finish(sweep, number) for number in [*cluster.queue]])
    assert Loop(sweep, engine, quiet).run() is None
    assert cluster.came == [0] and sweep.jobs[0].status == "completed"


ENDS = {
    "completed": ("completed", None, "", ("completed", None)),
    "failed": ("failed", "RuntimeError: raised", "", ("failed", "RuntimeError: raised")),
    "saved": ("interrupted", "SIGTERM", "", ("interrupted", "SIGTERM")),
    "killed": (
        "running",
        None,
        "slurmstepd: DUE TO TIME LIMIT\n",
        ("interrupted", "killed; its last line: slurmstepd: DUE TO TIME LIMIT"),
    ),
    "killed, as SLURM is known to say": (
        "interrupted",
        None,
        "a line\n",
        ("interrupted", "killed; its last line: a line"),
    ),
    "taken out of the queue": (
        None,
        None,
        "$ vitlab train\n",
        ("interrupted", "it was taken out of the queue before it began"),
    ),
    "no run": (
        None,
        None,
        "$ vitlab train\nvitlab: no such folder\n",
        ("failed", "no run began: vitlab: no such folder"),
    ),
}


@pytest.mark.parametrize(("status", "reason", "text", "end"), ENDS.values(), ids=ENDS.keys())
def test_a_job_whose_exit_status_nobody_knows_ended_as_its_record_says(tmp_path, status, reason, text, end):
    (tmp_path / "0.log").write_text(text)
    assert how_it_ended(None, status, reason, tmp_path / "0.log") == end


def test_options_for_sbatch_are_passed_through_and_ours_stand_where_none_is_given():
    usual = ["--requeue", "--open-mode=append", "--signal=B:SIGUSR1@180"]
    assert as_options({}) == usual
    assert as_options({"cpus_per_task": 4, "exclusive": True, "account": None, "requeue": False}) == [
        *usual[1:],
        *("--cpus-per-task=4", "--exclusive", "--no-requeue"),
    ]
    assert as_options({"comment": 'it\'s "mine" = $HOME'})[3:] == ['--comment=it\'s "mine" = $HOME']
    assert as_options({"signal": "USR1@60"})[2] == "--signal=USR1@60"
    # the steps of several processes hear it, not the shell that waits for srun
    assert as_options({"ntasks-per-node": 2})[2:] == ["--signal=SIGUSR1@180", "--ntasks-per-node=2"]


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("2:00", 30), ("1", 15), ("0:01:00", 15), ("8:00:00", 180), ("1-0", 180), ("UNLIMITED", 180)],
)
def test_a_job_of_a_short_time_hears_of_its_end_in_its_last_quarter(time, seconds):
    assert as_options({"time": time})[2] == f"--signal=B:SIGUSR1@{seconds}"


VIOLATES = "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size"


@pytest.mark.parametrize(
    ("said", "fewer", "time"),
    [
        (f"AssocMaxSubmitJobLimit; {VIOLATES} and/or time limits)", True, True),
        (f"QOSMaxWallDurationPerJobLimit; {VIOLATES} and/or time limits)", False, False),
        ("Batch job submission failed: Invalid job array specification", True, False),
        ("Slurm temporarily unable to accept job, sleeping and retrying", True, True),
        ("Unable to contact slurm controller (connect failure)", True, True),
        ("invalid partition specified: nosuch; Batch job submission failed: Invalid", False, False),
    ],
)
def test_what_slurm_refuses_for_now_is_told_from_what_it_never_takes(said, fewer, time):
    assert what_helps(f"sbatch: error: {said}") == (fewer, time)


def test_what_slurm_says_has_the_reason_and_the_refusal():
    with pytest.raises(Refused, match=r"^bash: error: AssocMaxSubmitJobLimit; Batch job submission failed$"):
        said = "one\nbash: error: AssocMaxSubmitJobLimit\nbash: error: Batch job submission failed"
        ask_slurm(["bash", "-c", f"echo '{said}' >&2; exit 1"])


def test_a_job_of_several_lines_that_no_run_began_of_was_taken_out_of_the_queue(tmp_path):
    begin_log(tmp_path / "0.log", ["vitlab", "train", "+data.note='a\nb'"])
    assert how_it_ended(None, None, None, tmp_path / "0.log")[0] == "interrupted"


def test_a_program_that_would_sleep_and_try_again_is_ended_with_what_it_said():
    began = time.monotonic()
    with pytest.raises(Refused, match="the queue is full, sleeping and retrying"):
        ask_slurm(
            ["bash", "-c", "echo 'sbatch: error: the queue is full, sleeping and retrying' >&2; sleep 60"]
        )
    assert time.monotonic() - began < 30


def test_a_job_that_was_killed_while_nobody_watched_says_its_last_line(tmp_path):
    (sweep := grid(tmp_path, 2)).write()
    for number, status in ((0, "interrupted"), (1, "completed")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "run.json").write_text(json.dumps({"status": status}))
        sweep.log_of(sweep.jobs[number]).parent.mkdir(exist_ok=True)
        sweep.log_of(sweep.jobs[number]).write_text("epoch 3\n\n")
    reasons = [job.reason for job in Sweep.read(tmp_path).jobs]
    assert reasons == ["killed; its last line: epoch 3", None]


def test_a_machine_without_slurm_is_told_so_before_anything_is_submitted(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="this machine has no sbatch; a cluster's login node"):
        Slurm(grid(tmp_path, 1), lambda job: [], quiet, {})


def test_an_id_in_a_strangers_file_is_no_option_of_scancel(tmp_path):
    (sweep := grid(tmp_path, 1)).jobs[0].place = "--user=root"
    sweep.write()
    with pytest.raises(ValueError, match="job 0 is none of a sweep's"):
        Sweep.read(tmp_path)
