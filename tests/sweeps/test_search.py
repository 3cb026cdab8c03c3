"""A search goes on as if it had never stopped, keeps away from what failed, and stops what falls behind."""

import json
import math

import pytest

pytest.importorskip("optuna", reason="an extra of vitlab")

from vitlab.runs.history import FILE as HISTORY_FILE
from vitlab.sweeps.jobs import Job, Sweep
from vitlab.sweeps.search import Choice, Interval, OptunaSearch, part_of_optuna

FACTS = {"metric": "best/val/accuracy", "direction": "maximize"}
SPACE = {
    "lr": Interval(1e-5, 1.0, log=True),
    "depth": Interval(2.0, 8.0, whole=True, step=2.0),
    "model": Choice(("a", "b")),
}
TPE = {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 4}


def open_search(folder, num_jobs=8, sampler=TPE, **options):
    sweep = Sweep.read(folder) or Sweep(folder, FACTS)
    return OptunaSearch(
        sweep,
        SPACE,
        lambda number, values: Job(number, [f"{k}={v}" for k, v in values.items()], values),
        num_jobs,
        0,
        sampler,
        **options,
    )


def value_of(job):
    """Is best at a learning rate of 1e-2, with model b."""
    return (
        1.0
        - 0.1 * abs(math.log10(float(job.varied["lr"])) + 2.0)
        + (0.1 if job.varied["model"] == "b" else 0.0)
    )


def finish(search, job, status="completed"):
    folder = search.sweep.folder_of(job)
    folder.mkdir(exist_ok=True)
    job.status, job.metrics = status, {"best/val/accuracy": value_of(job)} if status == "completed" else {}
    (folder / "run.json").write_text(json.dumps({"status": status, "metrics": job.metrics}))
    search.tell(job)
    search.sweep.write()


def proposals(folder, stops=()):
    """Runs a search to its end, in a new process's state after each of the stops."""
    search = open_search(folder)
    while (job := search.ask()) is not None:
        finish(search, job, "failed" if job.number == 3 else "completed")
        if job.number in stops:
            search = open_search(folder)
    return [job.overrides for job in search.sweep.jobs]


def test_a_search_that_is_stopped_again_and_again_proposes_what_it_would_have(tmp_path):
    whole = proposals(tmp_path / "whole")
    assert len({tuple(overrides) for overrides in whole}) == 8
    assert proposals(tmp_path / "stopped", stops=(0, 5)) == whole


def test_every_draw_lies_in_the_space(tmp_path):
    search = open_search(tmp_path, 16, {"_target_": "optuna.samplers.RandomSampler"})
    jobs = [search.ask() for _ in range(16)]
    assert all(1e-5 <= float(job.varied["lr"]) <= 1.0 for job in jobs)
    assert {job.varied["depth"] for job in jobs} == {"2", "4", "6", "8"}
    assert {job.varied["model"] for job in jobs} == {"a", "b"}
    assert search.ask() is None
    below = sum(float(job.varied["lr"]) < 10**-2.5 for job in jobs)
    assert 3 <= below <= 13  # half of a logarithmic interval


def test_the_trials_outlive_a_kill_between_asking_and_writing_it_down(tmp_path):
    search = open_search(tmp_path)
    finish(search, search.ask())
    lost = search.ask()  # and the process is gone before sweep.json has it
    again = open_search(tmp_path)
    assert [job.overrides for job in again.sweep.jobs[1:]] == [lost.overrides]
    assert again.sweep.jobs[1].status == "waiting"


def test_what_ended_while_nobody_was_there_to_tell_is_told_later(tmp_path):
    search = open_search(tmp_path)
    job = search.ask()
    search.sweep.write()
    search.sweep.folder_of(job).mkdir()
    (search.sweep.folder_of(job) / "run.json").write_text(
        json.dumps({"status": "completed", "metrics": {"best/val/accuracy": 0.75}})
    )
    assert open_search(tmp_path).study.best_value == 0.75


def test_a_job_that_failed_and_then_completed_counts_in_the_search(tmp_path):
    search = open_search(tmp_path)
    job = search.ask()
    finish(search, job, "failed")
    again = open_search(tmp_path)  # sweep.retry_failed=true
    finish(again, again.sweep.jobs[0])
    assert open_search(tmp_path).study.best_value == value_of(job)


def test_a_job_that_falls_behind_is_hopeless_and_one_that_leads_is_not(tmp_path):
    median = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 0}
    search = open_search(tmp_path, pruner=median)

    def progress(job, values):
        folder = search.sweep.folder_of(job)
        folder.mkdir(exist_ok=True)
        rows = [
            json.dumps({"step": 10 * step, "val/accuracy": value}) + "\n"
            for step, value in enumerate(values, 1)
        ]
        (folder / HISTORY_FILE).write_text("".join(rows) + '{"step": 99, "val/acc')  # killed or still at it
        return search.is_hopeless(job)

    for values in ([0.5, 0.6], [0.4, 0.7]):
        job = search.ask()
        assert not progress(job, values)
        finish(search, job)
    leading, behind = search.ask(), search.ask()
    assert not progress(leading, [0.6])
    assert not progress(behind, [])
    assert progress(behind, [0.2])
    finish(search, behind, "pruned")
    assert open_search(tmp_path).study.trials[behind.number].state.name == "PRUNED"


def test_a_metric_that_no_run_has_is_refused_with_those_that_it_has(tmp_path):
    search = open_search(tmp_path)
    job = search.ask()
    job.status, job.metrics = "completed", {"val/loss": 1.0}
    with pytest.raises(ValueError, match="best/val/accuracy is no metric of job 0; it has val/loss"):
        search.tell(job)


@pytest.mark.parametrize(
    ("sampler", "says"),
    [
        ({"_target_": "os.system"}, "is none of optuna.samplers"),
        ({"_target_": "optuna.samplers.BaseSampler"}, "is none of optuna.samplers"),
        ({"_target_": "optuna.samplers.TPESampler", "n_startup": 3}, "n_startup"),
    ],
    ids=["another function", "no sampler", "an unknown argument"],
)
def test_what_is_no_sampler_is_refused(sampler, says):
    with pytest.raises(ValueError, match=says):
        part_of_optuna(sampler, "sampler")


def test_a_job_that_validated_nothing_is_no_end_of_the_search(tmp_path):
    search = open_search(tmp_path)
    job = search.ask()
    job.status, job.metrics = "completed", {"test/accuracy": 0.5}
    search.tell(job)
    search.sweep.write()
    assert search.ask().number == 1
    assert search.study.trials[0].state.name == "FAIL"
