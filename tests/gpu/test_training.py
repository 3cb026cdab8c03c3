"""`vitlab train` on the device: every experiment, the same bits with and without pictures, every optimizer in
every precision."""

import json
from pathlib import Path

import pytest
import torch

from vitlab.config.compose import conf_dir

EXPERIMENTS = sorted(
    (file.stem for file in (conf_dir() / "experiment").glob("*.yaml")),
    key=lambda name: (name != "digits_vit", name),
)


@pytest.mark.usefixtures("compiler")
@pytest.mark.full("experiment", EXPERIMENTS)
def test_the_experiment_takes_a_step_in_its_own_precision_and_is_tested(
    vitlab, fake_data, pretrained_file, device, note, experiment
):
    short = [
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=1",
        "trainer.check_val_every_n_epoch=1",
        "schedule.warmup_epochs=0",
    ]
    config = (conf_dir() / "experiment" / f"{experiment}.yaml").read_text()
    small = (
        ["data.batch_size=8", "hardware=gpu"]
        if device == "cuda"
        else ["data.batch_size=8", "hardware=cpu", "compile=false"]
    )
    pretrained, looks = "/model: pretrained" in config, "/callbacks: default" not in config
    small += (
        [f"model.weights=timm:{pretrained_file}", "data.image_size=32"] if pretrained else ["model.depth=2"]
    )
    small += ["callbacks.attention.num_scored=8"] if looks else []
    ended = vitlab("train", f"experiment={experiment}", *fake_data(experiment), *short, *small)
    assert ended.status == 0, ended.err[-3000:]
    (record,) = Path("outputs", experiment).rglob("run.json")
    facts = json.loads(record.read_text())
    note("precision", facts["config"]["trainer"]["precision"])
    note("compiled", facts["config"]["compile"])
    assert facts["status"] == "completed"
    assert facts["steps"] == 1


DIGITS = [
    "data=digits",
    "trainer.log_every_n_steps=1",
    "trainer.limit_train_batches=6",
    "trainer.max_epochs=2",
    "schedule.warmup_epochs=0.5",
]
DIGITS += [
    "callbacks.evaluation=null",
    "data.batch_size=64",
    "model.depth=2",
    "callbacks.attention.num_scored=8",
]
PLAIN = [*DIGITS[:-1], "callbacks=[default]"]


@pytest.mark.on_a_gpu(held_by="tests/callbacks/test_attention.py")
@pytest.mark.full("deterministic", ["true", "false"])
def test_losses_are_the_same_bits_with_and_without_pictures_of_attention(
    train, hardware, rows_of, note, deterministic
):
    chosen = [*hardware(), f"trainer.deterministic={deterministic}"]
    looked, plain = train("looked", *DIGITS, *chosen), train("plain", *PLAIN, *chosen)
    losses, plain_losses = rows_of(looked, "train/loss"), rows_of(plain, "train/loss")
    note("largest difference", max(abs(one - other) for one, other in zip(losses, plain_losses, strict=True)))
    assert len(losses) == 12
    assert losses == plain_losses
    hashes = [json.loads((folder / "run.json").read_text())["hashes"]["final"] for folder in (looked, plain)]
    assert hashes[0] == hashes[1]


OPTIMIZERS = ["adamw", "muon", "sgd"]
LEVELS = {"bf16-mixed": 5e-2, "32-true": 1e-3, "16-mixed": 2e-2}


@pytest.mark.full("optimizer", OPTIMIZERS)
@pytest.mark.full("precision", LEVELS)
def test_an_optimizer_with_an_average_trains_as_on_the_processor(
    train, hardware, rows_of, note, optimizer, precision
):
    chosen = [*DIGITS[:-1], f"optimizer={optimizer}", "callbacks=[default,ema]", "augment=light"]
    there = train("there", *chosen, "hardware=cpu", "trainer.precision=32-true")
    here = train("here", *chosen, *hardware(precision))
    pairs = {
        key: (rows_of(here, key), rows_of(there, key))
        for key in ("train/loss", "train/gradient_norm", "val/loss")
    }
    worst = {key: max(abs(a / b - 1) for a, b in zip(*values, strict=True)) for key, values in pairs.items()}
    for key, value in worst.items():
        note(key, value)
    assert worst["train/loss"] <= LEVELS[precision]
    assert worst["val/loss"] <= LEVELS[precision]
    assert worst["train/gradient_norm"] <= 4 * LEVELS[precision] + 0.05
    checkpoint = torch.load(here / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu")
    averaged = (
        checkpoint["current_model_state"] if "current_model_state" in checkpoint else checkpoint["state_dict"]
    )
    assert any(not torch.equal(value, averaged[name]) for name, value in checkpoint["state_dict"].items())
