"""Two processes (gloo, on the CPU) against one with the same global batch."""

import json
import os
import subprocess
import sys

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vitlab.dashboard.tags import Tags

FIXED = [
    "hardware=cpu",
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
    "trainer.max_epochs=2",
    "schedule.warmup_epochs=0",
]
FIXED += [
    "augment.crop_padding=1",
    "augment.flip=0.5",
    "trainer.log_every_n_steps=1",
    "trainer.limit_train_batches=8",
]
FIXED += [
    "callbacks.attention.num_scored=8",
    "trainer.accumulate_grad_batches=3",
]  # 3, 3 and 2 of the 8 batches


def train(folder, *overrides):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vitlab.cli", "train", *FIXED, *overrides, f"hydra.run.dir={folder}"]
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=folder.parent, env=environment, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return results(folder)


def results(folder):
    weights = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return json.loads((folder / "run.json").read_text()), weights


def losses(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss"] for row in rows if "train/loss" in row]


def test_two_processes_train_and_test_as_one(tmp_path, fork_train):
    asked = [*FIXED, "data.batch_size=64", f"hydra.run.dir={tmp_path / 'alone'}"]
    assert fork_train(asked, log := tmp_path / "log") == [0], log.read_text()
    alone, weights = results(tmp_path / "alone")
    shared, shared_weights = train(
        tmp_path / "shared", "data.batch_size=32", "trainer.devices=2", "trainer.strategy=ddp"
    )
    assert shared["status"] == "completed"
    assert shared["steps"] == alone["steps"]
    assert len(losses(tmp_path / "alone")) == alone["steps"]
    assert losses(tmp_path / "shared") == pytest.approx(
        losses(tmp_path / "alone"), rel=1e-5
    )  # which also takes the same order of samples
    for folder in (tmp_path / "alone", tmp_path / "shared"):  # one process writes, also of pictures
        (file,) = folder.glob("events.out.tfevents.*")
        frames = (
            EventAccumulator(str(file), size_guidance={"images": 0})
            .Reload()
            .Images(Tags().of_picture("attention/overview"))
        )
        assert [frame.step for frame in frames] == [0, alone["steps"] // 2, alone["steps"]]
    for name, value in weights.items():
        torch.testing.assert_close(shared_weights[name], value, rtol=1e-3, atol=1e-4, msg=name)
    # 359 test images, an odd number: each counted once, so the shares are whole numbers of images
    assert shared["metrics"]["test/accuracy"] * 359 == pytest.approx(
        round(shared["metrics"]["test/accuracy"] * 359), abs=1e-3
    )
    assert shared["metrics"]["test/loss"] == pytest.approx(alone["metrics"]["test/loss"], abs=1e-4)


@pytest.mark.slow
def test_two_runs_of_two_processes_are_the_same_bits(tmp_path):
    runs = [
        train(tmp_path / name, "data.batch_size=32", "trainer.devices=2", "trainer.strategy=ddp")[0]
        for name in ("one", "other")
    ]
    assert runs[0]["hashes"] == runs[1]["hashes"]
