"""A search on a cluster that nobody watches: each start takes in what has ended, cancels what is behind, and
asks for more."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

SPEC = spec_from_file_location("cluster", Path(__file__).parent / "cluster.py")
SPEC.loader.exec_module(clusters := module_from_spec(SPEC))

SEARCH = [
    *("-m", "vitlab", "train", "-m", "sweep=random", "sweep.name=search", "sweep.num_jobs=3"),
    *("sweep.parallel=2", "sweep.engine=slurm", "sweep.detach=true", "sweep.slurm.partition=urgent"),
    *("sweep.sampler={_target_: optuna.samplers.BruteForceSampler}", "sweep.metric=val/accuracy"),
    "sweep.pruner={_target_: optuna.pruners.ThresholdPruner, lower: 1.0}",
    *("+callbacks.hitch._target_=hitch.Hitch", "+callbacks.hitch.kind=fine0,slow,fine1"),
    *("hardware=cpu", "model.depth=1", "model.embed_dim=16", "model.num_heads=2", "callbacks=[default]"),
    *("callbacks.evaluation=null", "logger=csv", "trainer.max_epochs=9", "trainer.limit_train_batches=4"),
    *("schedule.warmup_epochs=0", "data.batch_size=8", "trainer.log_every_n_steps=4"),
]
"""Of three jobs, two at a time: the second kind and another. Whichever has validated, and runs when somebody
looks, is behind."""


def test_a_search_that_is_left_alone_takes_in_what_ended_cancels_what_is_behind_and_asks_for_more(
    cluster, tmp_path, monkeypatch
):
    pytest.importorskip("optuna", reason="an extra of vitlab")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cluster.environment, "VITLAB_TARGETS", "hitch")
    monkeypatch.setitem(cluster.environment, "HITCH_SECONDS", "3")
    folder = tmp_path / "outputs" / "train" / "search"

    def start():
        said = cluster.ask(sys.executable, *SEARCH)
        return {job["number"]: job for job in json.loads((folder / "sweep.json").read_text())["jobs"]}, said

    def record(job):
        file = folder / str(job["number"]) / "run.json"
        return json.loads(file.read_text()) if file.exists() else {}

    first, said = start()
    assert len(first) == 2 and "2 jobs go on by themselves" in said, said
    slow = next(job for job in first.values() if job["varied"]["callbacks.hitch.kind"] == "slow")
    (quick,) = (job for job in first.values() if job is not slow)
    history = folder / str(slow["number"]) / "metrics.jsonl"
    clusters.wait_until(lambda: record(quick).get("status") == "completed", 90, lambda: record(quick))
    clusters.wait_until(lambda: history.exists() and "val/accuracy" in history.read_text(), 90, "validation")

    second, said = start()
    assert second[quick["number"]]["status"] == "completed" and second[quick["number"]]["place"] is None
    assert second[slow["number"]]["status"] == "pruned" and second[2]["place"], said
    cluster.wait(slow["place"], 60, "CANCELLED")
    clusters.wait_until(lambda: record(second[2]).get("status") == "completed", 90, lambda: record(second[2]))
    assert record(slow)["reason"].startswith("SIGTERM, saved at step")

    third, said = start()
    assert [job["status"] for job in third.values()].count("completed") == 2, said
    assert third[slow["number"]]["status"] == "pruned" and "behind the others" in said
    assert [job["attempts"] for job in third.values()] == [1, 1, 1]
    assert cluster.state(slow["place"])["Restarts"] == "0"
