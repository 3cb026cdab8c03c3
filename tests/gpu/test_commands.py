"""What comes after training, on the device: test, predict, inspect, export."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitlab.export.formats import FORMATS

LEARNT = [
    "data=digits",
    "trainer.max_epochs=2",
    "schedule.warmup_epochs=0.5",
    "callbacks=[default]",
    "callbacks.evaluation=null",
    "model.depth=2",
]
LEARNT += ["model.class_token=true", "model.global_pool=token"]  # as every format has it


@pytest.fixture(scope="module")
def run(trained_in, tmp_path_factory, hardware, device):
    """A run on the digits, trained on the device, in a rehearsal for a moment."""
    few = [] if device == "cuda" else ["trainer.limit_train_batches=8"]
    return trained_in(tmp_path_factory.mktemp("learnt"), *LEARNT, *few, *hardware("32-true"))


@pytest.fixture
def best(run):
    return f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"


def answers(file):
    with Path(file).open() as rows:
        return list(csv.DictReader(rows))


def test_test_gives_the_runs_own_result(vitlab, best, run, hardware, note):
    ended = vitlab("test", best, hardware(None)[0], "hydra.run.dir=tested")
    assert ended.status == 0, ended.err[-3000:]
    metrics, trained = (
        json.loads((Path(folder) / "run.json").read_text())["metrics"] for folder in ("tested", run)
    )
    note("difference of the loss", abs(metrics["test/loss"] - trained["test/loss"]))
    assert metrics["test/accuracy"] == trained["test/accuracy"]
    assert metrics["test/loss"] == pytest.approx(trained["test/loss"], rel=1e-5)


def test_predict_gives_the_processors_probabilities(vitlab, best, device, tmp_path, note):
    generator = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(4):
        Image.fromarray(generator.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{index}.png")
    for name in dict.fromkeys((device, "cpu")):
        ended = vitlab(
            "predict",
            best,
            f"images={folder}",
            f"device={name}",
            f"hydra.run.dir={name}_answers",
            "explain=rollout,relevance",
        )
        assert ended.status == 0, ended.err[-3000:]
    here, there = answers(f"{device}_answers/predictions.csv"), answers("cpu_answers/predictions.csv")
    numbers = [
        [float(value) for key, value in row.items() if key.startswith("probability")] for row in here + there
    ]
    note(
        "largest difference of a probability",
        float(np.abs(np.array(numbers[:4]) - np.array(numbers[4:])).max()),
    )
    assert np.abs(np.array(numbers[:4]) - np.array(numbers[4:])).max() <= 2e-3
    assert len(list(Path(f"{device}_answers", "explained").rglob("*.html"))) >= 4


def test_inspect_scores_as_test_does(vitlab, best, run, device):
    sizes = ["num_images=8", "num_shown=2", "num_mosaics=8", "num_mistakes=2"]
    ended = vitlab(
        "inspect", best, f"device={device}", *sizes, "methods=rollout,relevance", "hydra.run.dir=inspected"
    )
    assert ended.status == 0, ended.err[-3000:]
    trained = json.loads((run / "run.json").read_text())["metrics"]
    assert json.loads(Path("inspected/inspection.json").read_text())["accuracy"] == pytest.approx(
        trained["test/accuracy"], abs=1e-6
    )


@pytest.mark.full("name", FORMATS)
def test_an_export_of_what_was_trained_here_gives_the_checkpoints_logits(vitlab, best, name):
    ended = vitlab("export", best, f"format={name}", "hydra.run.dir=exported")
    assert ended.status == 0, ended.err[-3000:]
    assert Path("exported", name, "README.md").exists()
