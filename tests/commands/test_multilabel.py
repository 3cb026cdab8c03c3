"""Several labels an image through every command: trained, tested, listed, asked, looked into and exported."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vitlab.dashboard.tags import Tags
from vitlab.data.sources.planted_labels import PlantedLabels

SMALL = [
    "data=planted_labels",
    "objective=multilabel",
    "hardware=cpu",
    "model.depth=1",
    "model.class_token=true",
    "model.global_pool=token",
    "augment=none",
    "data.source.num_images=400",
    "data.num_classes=4",
    "trainer.max_epochs=2",
    "callbacks.attention.num_scored=8",
]


@pytest.fixture(scope="module")
def run(trained_in, tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("several"), *SMALL)


@pytest.fixture
def pictures(tmp_path):
    images = PlantedLabels(32, 4, 4, 3, 60, 0.3, 0).load()["all"].images
    (tmp_path / "pictures").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(tmp_path / "pictures" / f"{index}.png")
    return tmp_path / "pictures"


def test_training_says_and_keeps_what_a_test_of_the_checkpoint_says_again(vitlab, run, tmp_path):
    record = json.loads((run / "run.json").read_text())
    metrics, checkpoint = record["metrics"], run / "checkpoints" / "best.ckpt"
    assert {"val/average_precision", "test/f1_macro", "test/f1_macro_tuned"} <= set(metrics)
    assert not [name for name in metrics if "accuracy" in name]
    learned = torch.load(checkpoint, weights_only=True)["vitlab"]["learned"]
    assert learned["thresholds"].shape == (4,)
    drawn = {file.name for file in (run / "figures").glob("*.png")}
    assert {"test_per_label.png", "test_mistakes.png"} <= drawn and "test_confusion.png" not in drawn
    tested = vitlab("test", f"checkpoint={checkpoint}", "hydra.run.dir=tested")
    assert tested.status == 0, tested.err
    again = json.loads((tmp_path / "tested" / "run.json").read_text())["metrics"]
    for name, value in again.items():
        assert value == pytest.approx(metrics[name], abs=1e-6), name
    listed = json.loads(vitlab("list", str(run.parent), "--json").out)
    assert listed[0]["best"]["metric"] == "val/average_precision"


def test_attention_pictures_follow_it_from_before_training_to_the_end(run):
    dashboard = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    probe = json.loads((run / "figures" / "probe_images.json").read_text())
    assert len(probe["labels"]) == 8 and all(any(labels) for labels in probe["labels"])
    end = json.loads((run / "run.json").read_text())["steps"]
    for name in ("attention/overview", "attention/heads", "attention/layers_x_heads", "features/pca"):
        frames = dashboard.Images(Tags().of_picture(name))
        assert [frame.step for frame in frames] == [0, end // 2, end], name
        figure = run / "figures" / f"{name.replace('/', '_')}.png"
        assert figure.read_bytes() == frames[-1].encoded_image_string
        assert len({frame.encoded_image_string for frame in frames}) == 3, name
    gains = dashboard.Scalars(Tags().of_picture("attention/rollout_deletion_gain"))
    assert [point.step for point in gains] == [0, end // 2, end]


def test_predict_says_labels_at_their_thresholds_and_explains_each(vitlab, run, pictures, tmp_path):
    said = vitlab(
        "predict", f"checkpoint={run}", f"images={pictures}", "explain=relevance", "hydra.run.dir=said"
    )
    assert said.status == 0, said.err
    rows = list(csv.DictReader((tmp_path / "said/predictions.csv").read_text().splitlines()))
    names = [f"pattern {index}" for index in range(4)]
    assert list(rows[0]) == ["file", "labels", *names]
    learned = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["vitlab"]["learned"]
    for row in rows:
        above = [
            name
            for name, least in zip(names, learned["thresholds"].tolist(), strict=True)
            if float(row[name]) >= least - 1e-6
        ]
        assert row["labels"].split(";") == (above or [""])
    pages = sorted(page.name for page in (tmp_path / "said" / "explained").glob("*.html"))
    assert len(pages) == sum(max(len([name for name in row["labels"].split(";") if name]), 1) for row in rows)
    looked = json.loads((tmp_path / "said" / "explained" / pages[0]).with_suffix(".json").read_text())
    assert looked["predictions"][0]["class"].replace(" ", "_") in pages[0]


def test_inspect_looks_at_models_of_several_labels(vitlab, run, tmp_path):
    ended = vitlab(
        "inspect",
        f"checkpoint={run}",
        "num_images=4",
        "num_shown=2",
        "methods=relevance",
        "hydra.run.dir=looked",
    )
    assert ended.status == 0, ended.err
    report = json.loads((tmp_path / "looked" / "inspection.json").read_text())
    assert "exact_match" in report and "several labels" in report["mosaics"]["left_out"]


def test_exports_name_the_sigmoid_and_the_thresholds(vitlab, run, tmp_path):
    learned = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["vitlab"]["learned"]
    ended = vitlab("export", f"checkpoint={run}", "format=hf", "hydra.run.dir=out")
    assert ended.status == 0, ended.err
    folder = tmp_path / "out" / "hf"
    config, facts = (
        json.loads((folder / name).read_text()) for name in ("config.json", "preprocessing.json")
    )
    assert config["problem_type"] == "multi_label_classification" and facts["activation"] == "sigmoid"
    assert np.allclose(config["thresholds"], learned["thresholds"], atol=1e-6)
    assert config["thresholds"] == facts["thresholds"]
    card = (folder / "README.md").read_text()
    assert "4 labels of an image" in card and f"pattern 3 {config['thresholds'][3]:.3f}" in card
    onnx = pytest.importorskip("onnx")
    ended = vitlab("export", f"checkpoint={run}", "format=onnx", "hydra.run.dir=out")
    assert ended.status == 0, ended.err
    told = {
        each.key: each.value for each in onnx.load(tmp_path / "out" / "onnx" / "model.onnx").metadata_props
    }
    assert told["activation"] == "sigmoid" and json.loads(told["thresholds"]) == config["thresholds"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            ["objective=multilabel"],
            "data.targets=labels, as the objective has it, is several labels an image",
        ),
        (
            ["data=planted_labels"],
            "the data (PlantedLabels) has several labels an image; objective=multilabel",
        ),
    ],
)
def test_data_of_another_kind_than_the_objective_needs_is_refused_before_training(vitlab, given, says):
    ended = vitlab("train", *given, "hardware=cpu")
    assert ended.status == 2 and says in " ".join(ended.err.split())
