"""Every experiment trains, validates and tests end to end, on fake data in its data set's own format."""

import json
from pathlib import Path

import pytest

from vitlab.config.compose import conf_dir

EXPERIMENTS = sorted(file.stem for file in (conf_dir() / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_experiment_runs_end_to_end(vitlab, fake_data, pretrained_file, experiment):
    short = ["trainer.max_epochs=2", "trainer.limit_train_batches=1", "trainer.check_val_every_n_epoch=1"]
    small = ["data.batch_size=8", "compile=false", "hardware=cpu"]
    config = (conf_dir() / "experiment" / f"{experiment}.yaml").read_text()
    pretrained, looks = "/model: pretrained" in config, "/callbacks: default" not in config
    small += (
        [f"model.weights=timm:{pretrained_file}", "data.image_size=32"]
        if pretrained
        else ["model.depth=1", "model.embed_dim=32", "model.num_heads=1"]
    )
    small += ["callbacks.attention.num_scored=8", "callbacks.attention.num_shown=2"] if looks else []
    ended = vitlab("train", f"experiment={experiment}", *fake_data(experiment), *short, *small)
    assert ended.status == 0, ended.err
    (record,) = Path("outputs", experiment).rglob("run.json")
    facts = json.loads(record.read_text())
    assert facts["status"] == "completed"
    assert facts["steps"] == 2
    judged = facts["objective"]["monitor"].removeprefix("val/")
    assert 0.0 <= facts["metrics"][f"test/{judged}"] <= 1.0


@pytest.mark.parametrize("experiment", ["digits_vit", "flowers_linear_probe", "cifar10_finetune"])
def test_a_fast_run_goes_through_every_part_of_the_experiment(vitlab, fake_data, pretrained_file, experiment):
    small = ["data.batch_size=8", "hardware=cpu"]
    weights = (
        [f"model.weights=timm:{pretrained_file}", "data.image_size=32"] if experiment != "digits_vit" else []
    )
    ended = vitlab(
        "train",
        f"experiment={experiment}",
        *fake_data(experiment),
        *small,
        *weights,
        "trainer.fast_dev_run=true",
    )
    assert ended.status == 0, ended.err
    (record,) = Path("outputs", experiment).rglob("run.json")
    facts = json.loads(record.read_text())
    assert (facts["status"], facts["steps"]) == ("completed", 1)
    assert "test/accuracy" in facts["metrics"]
    assert (record.parent / "checkpoints" / "best.ckpt").exists()
    assert "what it scores says nothing" in ended.err + ended.out
