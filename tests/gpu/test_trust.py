"""Runs that are killed, and runs of several processes, on one GPU."""

import json
from pathlib import Path

import pytest

SMALL = [
    "data=digits",
    "model.depth=2",
    "trainer.max_epochs=2",
    "schedule.warmup_epochs=0.5",
    "trainer.log_every_n_steps=1",
]
SMALL += [
    "data.batch_size=192",
    "callbacks=[default,ema]",
    "checkpoint_every_steps=2",
    "callbacks.evaluation=null",
]
SMALL += [
    "model.proj_drop_rate=0.1",
    "model.drop_path_rate=0.1",
    "augment=strong",
    "trainer.deterministic=true",
]
SHORT = [
    "data=digits",
    "model.depth=2",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=6",
    "schedule.warmup_epochs=0",
]
SHORT += ["trainer.log_every_n_steps=1", "callbacks=[default]", "augment=light"]


def facts_of(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.fixture
def start(fork_train, hardware):
    """Starts `vitlab train` in a process of its own, which may be killed at a step; returns its status and
    what it said."""

    def run(folder, *overrides, at=""):
        arguments = [
            *SMALL,
            *hardware(),
            "+callbacks.at._target_=starts.At",
            f"hydra.run.dir={folder}",
            *overrides,
        ]
        statuses = fork_train(arguments, f"{folder}.log", at=at)
        return statuses[0], Path(f"{folder}.log").read_text()

    return run


@pytest.mark.on_a_gpu(held_by="tests/commands/test_resume.py")
def test_a_run_killed_twice_ends_with_the_same_bits(start, tmp_path, note):
    status, said = start(tmp_path / "whole")
    assert status == 0, said[-3000:]
    for at in ("SIGKILL step 5 0.0", "SIGKILL step 9 0.0"):
        status, said = start(tmp_path / "killed", "resume=auto", at=at)
        assert status == -9, said[-3000:]
    status, said = start(tmp_path / "killed", "resume=auto")
    assert status == 0, said[-3000:]
    whole, killed = facts_of(tmp_path / "whole"), facts_of(tmp_path / "killed")
    note("steps", whole["steps"])
    note("resumed", said.count("going on with"))
    assert killed["hashes"] == whole["hashes"]
    timeless = [
        {key: value for key, value in facts["metrics"].items() if "per_second" not in key}
        for facts in (killed, whole)
    ]
    assert timeless[0] == timeless[1]


@pytest.fixture
def processes(fork_train):
    """Runs one process or several on the one device and returns the run's record."""

    def run(folder, number, *overrides):
        log = Path(f"{folder}.log")
        statuses = fork_train(
            [*SHORT, *overrides, f"hydra.run.dir={folder}"], log, processes=number, one_device=True
        )
        assert statuses == [0] * number, log.read_text()[-3000:]
        return facts_of(folder)

    return run


@pytest.mark.on_a_gpu(held_by="tests/commands/test_devices.py")
def test_two_processes_on_one_device_train_as_one(processes, tmp_path, hardware, rows_of, note):
    precision = hardware("32-true")
    alone = processes(tmp_path / "alone", 1, *precision, "data.batch_size=64")
    several = ["trainer.num_nodes=2", "trainer.devices=1", "trainer.strategy=ddp"]
    both = processes(tmp_path / "both", 2, *precision, *several, "data.batch_size=32")
    losses, shared = rows_of(tmp_path / "alone", "train/loss"), rows_of(tmp_path / "both", "train/loss")
    note(
        "largest relative difference of a loss",
        max(abs(a / b - 1) for a, b in zip(shared, losses, strict=True)),
    )
    assert both["steps"] == alone["steps"] == 6
    assert shared == pytest.approx(losses, rel=1e-4)
    assert both["metrics"]["test/accuracy"] == pytest.approx(alone["metrics"]["test/accuracy"], abs=3e-3)


@pytest.mark.on_a_gpu(held_by="tests/commands/test_devices.py and test_resume.py")
@pytest.mark.full("strategy", ["fsdp", "ddp"])
def test_a_strategy_for_many_devices_trains_on_one_as_without_it(
    processes, tmp_path, hardware, rows_of, note, device, strategy
):
    precision = ["trainer.precision=32-true"]
    alone = processes(tmp_path / "alone", 1, *hardware("32-true"))
    chosen = (
        [f"hardware={'fsdp' if strategy == 'fsdp' else 'multi_gpu'}"]
        if device == "cuda"
        else ["hardware=cpu", f"trainer.strategy={strategy}"]
    )
    split = processes(tmp_path / "split", 1, *chosen, *precision, "trainer.devices=1")
    losses, others = rows_of(tmp_path / "alone", "train/loss"), rows_of(tmp_path / "split", "train/loss")
    note(
        "largest relative difference of a loss",
        max(abs(a / b - 1) for a, b in zip(others, losses, strict=True)),
    )
    assert others == pytest.approx(losses, rel=1e-4)
    assert split["metrics"]["test/loss"] == pytest.approx(alone["metrics"]["test/loss"], rel=1e-3)
