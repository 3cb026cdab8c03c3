"""A linear probe from the command line: the second run is the first without the work, and its checkpoint is a
whole model."""

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture
def probe(vitlab, photo_folder, pretrained_file, tmp_path):
    """Trains a probe on photographs of three colours into a named run folder; returns how it ended."""
    root = photo_folder()
    arguments = [
        "experiment=flowers_linear_probe",
        "data=folder",
        f"data.root={root}",
        f"model.weights=timm:{pretrained_file}",
    ]
    arguments += [
        "data.image_size=32",
        "data.batch_size=8",
        "data.test_fraction=0.25",
        "hardware=cpu",
        "trainer.max_epochs=40",
    ]

    def train(name, *more):
        return vitlab("train", *arguments, *more, f"hydra.run.dir={tmp_path}/{name}")

    return train


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_probe_without_validation_images_is_trained_and_tested(probe, tmp_path):
    ended = probe("without", "data.val_fraction=0")
    assert ended.status == 0, ended.err
    assert record(tmp_path / "without")["metrics"]["test/accuracy"] > 0.9
    assert not (tmp_path / "without/checkpoints/best.ckpt").exists()


def test_a_second_probe_computes_no_features_and_ends_in_the_same_weights(probe, tmp_path):
    first, second = probe("first"), probe("second")
    assert first.status == second.status == 0, first.err + second.err
    assert "computing the features of" in first.out
    assert "computing the features of" not in second.out
    weights = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("first", "second")
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    metrics = [record(tmp_path / name)["metrics"] for name in ("first", "second")]
    for each in metrics:
        del each["train/images_per_second"]  # a time
    assert metrics[0] == metrics[1]
    assert metrics[0]["test/accuracy"] > 0.9
    assert {path.stem for path in (tmp_path / "second/figures").iterdir()} == {
        "test_confusion",
        "test_per_class",
        "test_reliability",
    }  # no attention


def test_the_checkpoint_is_a_whole_model_for_test_and_predict(probe, vitlab, pretrained_file, tmp_path):
    assert probe("run").status == 0
    checkpoint = tmp_path / "run/checkpoints/best.ckpt"
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, value in load_file(pretrained_file).items():
        if not name.startswith("head."):
            assert torch.equal(saved[f"model.{name}"], value), name

    tested = vitlab("test", f"checkpoint={checkpoint}", "hardware=cpu", f"hydra.run.dir={tmp_path}/tested")
    assert tested.status == 0, tested.err
    for name, value in record(tmp_path / "tested")["metrics"].items():
        assert value == pytest.approx(record(tmp_path / "run")["metrics"][name], abs=1e-5), name

    predicted = vitlab(
        "predict",
        f"checkpoint={checkpoint}",
        f"images={tmp_path}/photos",
        "device=cpu",
        f"hydra.run.dir={tmp_path}/table",
    )
    assert predicted.status == 0, predicted.err
    with (tmp_path / "table/predictions.csv").open() as file:
        right = [Path(row["file"]).parent.name == row["class_1"] for row in csv.DictReader(file)]
    assert sum(right) > 0.9 * len(right)


def test_a_bad_setting_of_the_features_is_one_line(probe):
    for more, says in (
        (["features.batch_size=0"], "features.batch_size=0 must be at least 1"),
        (["features.batch=3"], "unknown key features.batch; "),
        (["+features.batch=3"], "unknown key features.batch=3; did you mean batch_size?"),
        (
            ["augment.flip=0.5"],
            "augment.flip=0.5: kept features know one view of an image; augment=none would work",
        ),
        (["objective=classification"], "features: only the head can learn from them"),
        (["optimizer=muon"], "nor convolutions on features; optimizer=adamw would work"),
    ):
        ended = probe("bad", *more)
        assert ended.status == 2
        assert len(ended.err.strip().splitlines()) == 1
        assert says in ended.err, ended.err
