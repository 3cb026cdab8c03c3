"""`continue=RUN`: a new run from another's last state, under any new setting, while the other stays as it
is."""

import json
from pathlib import Path

import pytest
import torch
from tiny import SHORTLY, TINY_DIGITS

from vitlab import lab
from vitlab.checkpoint.reading import read_checkpoint
from vitlab.config.continuing import refuse_strange_places, take_over
from vitlab.runs.record import load_record

SHORT = (
    *TINY_DIGITS,
    "augment=none",
    "schedule=constant",
    "schedule.warmup_epochs=0",
    "callbacks=[default,ema]",
    "callbacks.ema.decay=0.9",
    "callbacks.evaluation=null",
    "trainer.limit_train_batches=3",
    *SHORTLY,
)

GREY = ("data.image_size=8", "data.in_channels=1", "data.mean=[0.5]", "data.std=[0.5]", "patch_size=2")


def contents(folder):
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def last(folder):
    return read_checkpoint(folder / "checkpoints" / "last.ckpt")


@pytest.fixture(scope="module")
def parent(trained_in, tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("parent"), *SHORT, "trainer.max_epochs=1")


def test_a_new_run_takes_over_weights_memory_and_average_and_goes_its_own_way(vitlab, parent, tmp_path):
    before, start = contents(parent), last(parent)
    new = tmp_path / "new"
    asked = (f"continue={parent}", "trainer.max_epochs=2", f"hydra.run.dir={new}")
    # a step of rate 0 leaves weights and average as they were; of the optimizer's memory it adds to
    still = vitlab("train", *asked[:1], "optimizer.lr=1e-30", "trainer.max_steps=1", "hydra.run.dir=still")
    assert still.status == 0, still.err
    now = last(tmp_path / "still")
    for name, value in start["current_model_state"].items():
        assert torch.equal(now["current_model_state"][name], value), name
    states = [each["optimizer_states"][0]["state"][0] for each in (start, now)]
    assert [int(state["step"]) for state in states] == [3, 4]
    assert now["averaging_state"]["n_averaged"] == start["averaging_state"]["n_averaged"] + 1
    assert now["optimizer_states"][0]["param_groups"][0]["lr"] == 1e-30
    average, former = (each["state_dict"]["model.head.weight"] for each in (now, start))
    assert (average - former).abs().max() < (
        start["current_model_state"]["model.head.weight"] - former
    ).abs().max()

    ended = vitlab("train", *asked)
    assert ended.status == 0, ended.err
    assert f"from {parent}, step 3; trainer.max_epochs was 1, is 2" in ended.out
    assert contents(parent) == before
    record = load_record(new)
    assert record["steps"] == 6
    assert record["parent"] == {
        "folder": str(parent),
        "step": 3,
        "changes": ["trainer.max_epochs was 1, is 2"],
    }
    listed = json.loads(vitlab("list", str(tmp_path), "--json").out)
    assert {run.get("parent") for run in listed} == {str(parent)}
    assert f"new from {parent}" in vitlab("list", str(tmp_path)).out
    assert f"continue={parent}" in " ".join(record["overrides"])


def test_a_continued_run_that_is_killed_ends_with_the_same_bits(fork_train, parent, tmp_path):
    asked = [f"continue={parent}", "+callbacks.at._target_=starts.At", "resume=auto"]

    def start(name, at=""):
        return fork_train([*asked, f"hydra.run.dir={tmp_path / name}"], tmp_path / f"{name}.log", at=at)

    assert start("whole") == [0], (tmp_path / "whole.log").read_text()
    for at in ("SIGKILL batch_end 1 0", "SIGKILL batch_end 3 0"):  # before its first checkpoint, and after
        assert start("cut", at) == [-9], (tmp_path / "cut.log").read_text()
    assert start("cut") == [0], (tmp_path / "cut.log").read_text()
    hashes = [load_record(tmp_path / name)["hashes"] for name in ("whole", "cut")]
    assert hashes[0] == hashes[1]


def test_a_continued_run_can_be_reproduced_from_its_own_folder_alone(vitlab, parent, tmp_path):
    run = tmp_path / "run"
    assert vitlab("train", f"continue={parent}", f"hydra.run.dir={run}").status == 0
    again = vitlab("reproduce", str(run), "run_dir=again")
    assert again.status == 0 and "identical: weights and" in again.out, again
    (run / "checkpoints" / "parent.ckpt").unlink()
    refused = vitlab("reproduce", str(run), "run_dir=third")
    assert refused.status == 2 and len(refused.err.splitlines()) == 1
    assert "parent.ckpt is gone, from which the run started" in refused.err


def test_another_optimizer_starts_without_the_memory_and_says_so(vitlab, parent, tmp_path):
    other = ("optimizer=sgd", "callbacks=default", "data.split_seed=1")
    ended = vitlab("train", f"continue={parent}", *other, "hydra.run.dir=sgd")
    assert ended.status == 0, ended.err
    assert f"split are not those of {parent}: it may have trained on what is tested here" in ended.out
    assert "the optimizer starts without the memory of the one in" in ended.out
    assert "the average of the weights in" in ended.out and "is left behind" in ended.out
    changes = load_record(tmp_path / "sgd")["parent"]["changes"]
    assert "optimizer._target_ was vitlab.optim.adamw, is vitlab.optim.sgd" in changes


def test_from_python_it_is_the_same(parent, tmp_path):
    run = lab.train(f"continue={parent}", "seed=1", folder=tmp_path / "run", quiet=True)
    assert run.record["parent"]["changes"] == ["seed was 0, is 1"]


def test_a_logger_that_both_commands_name_is_asked_for_and_nothing_is_taken_over_twice(tmp_path):
    record = {"status": "completed", "config": {}, "overrides": ["logger=wandb", "seed=1"]}
    (tmp_path / "run.json").write_text(json.dumps(record))
    parts = {"run_dir": "/new", "trainer": {}, "callbacks": {}, "continue": str(tmp_path)}
    config = parts | {"logger": {"wandb": {"_target_": "vitlab.loggers.wandb.Wandb"}}}
    own, theirs = take_over([f"continue={tmp_path}", "logger=wandb"]), take_over([f"continue={tmp_path}"])
    refuse_strange_places(config, Path("/new"), own)
    for overrides in (theirs, take_over(theirs)):  # a job of a sweep comes here a second time
        assert overrides == theirs
        with pytest.raises(ValueError, match="would send what the run logs to a server"):
            refuse_strange_places(config, Path("/new"), overrides)


def test_what_does_not_fit_is_refused_in_a_line(vitlab, parent, tmp_path, photo_folder):
    photos = photo_folder("photos", classes=[f"class{number}" for number in range(10)], count=8, side=8)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    record = load_record(parent)
    for name, overrides, config in (
        ("sends", ["logger=wandb"], record["config"]),
        ("writes", ["callbacks.best.dirpath=/etc"], record["config"]),
        ("odd", ["hydra.run.dir=/etc"], record["config"]),
        ("runs", record["overrides"], record["config"]),
    ):
        (stranger / name).mkdir()
        told = record | {"overrides": overrides, "config": config}
        told |= {"status": "running", "host": "elsewhere"} if name == "runs" else {}
        (stranger / name / "run.json").write_text(json.dumps(told))
    for asked, complaint in (
        (
            [f"continue={parent}", "model.embed_dim=32"],
            "its model is another one: pos_embed is [1, 16, 16] there and [1, 16, 32] here",
        ),
        (
            [f"continue={parent}", "data=folder", f"data.root={photos}", *GREY],
            f"continue={parent}: the data has the classes class0, class1",
        ),
        ([f"continue={tmp_path}"], "holds no run"),
        (["continue="], "continue has no value; give one: continue=RUN"),
        (["-m", f"continue={parent},{stranger}"], "a sweep's jobs all continue one run"),
        (
            [f"continue={parent}", f"model.weights={parent}"],
            "and model.weights from others; give one of them",
        ),
        (["continue=stranger/runs"], "is still running"),
        (["continue=stranger/sends"], "would send what the run logs to a server"),
        (["continue=stranger/writes"], "callbacks.best.dirpath=/etc lies outside the run's own folder"),
        (["continue=stranger/odd"], "its overrides have hydra.run.dir=/etc, which no training has"),
    ):
        ended = vitlab("train", *asked, "hydra.run.dir=none")
        assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended
        assert complaint in ended.err
    assert not (tmp_path / "none").exists()
