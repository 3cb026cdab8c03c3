"""Every experiment trains, validates and tests end to end, on fake data in its data set's own format."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from vitlab.commands.compose import conf_dir
from vitlab.data.sources.mnist import FILES

EXPERIMENTS = sorted(file.stem for file in (conf_dir() / "experiment").glob("*.yaml"))


def write_cifar(root, num_classes):
    original = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}[num_classes]
    folder = root / original.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, _ in (*original.train_list, *original.test_list):
        labels = [label for label in range(num_classes) for _ in range(2)]
        pixels = generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels" if num_classes == 10 else "fine_labels": labels}))
    names = {original.meta["key"]: [f"class {index}" for index in range(num_classes)]}
    (folder / original.meta["filename"]).write_bytes(pickle.dumps(names))
    return [f"data.root={root}", "data.verify=false"]


def write_mnist(root):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.uint8) % 10
    for name in FILES:
        array = generator.integers(0, 256, (60, 28, 28), dtype=np.uint8) if "images" in name else labels
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (raw / name).write_bytes(header + array.tobytes())
    return [f"data.root={root}"]


@pytest.fixture
def fake_data(tmp_path, photo_folder):
    """Writes fake images in the layout that the experiment's data set has; returns the overrides that point there."""

    def write(experiment):
        if experiment.startswith("cifar"):
            return write_cifar(tmp_path / "fake", 100 if "100" in experiment else 10)
        if experiment.startswith("mnist"):
            return write_mnist(tmp_path / "fake")
        if experiment.startswith("flowers"):
            return [f"data.root={photo_folder('fake', classes=('daisy', 'dandelion', 'rose', 'sunflower', 'tulip'), count=6, side=160)}"]
        if experiment.startswith("planted"):
            return ["data.source.num_images=200"]
        return []

    return write


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_experiment_runs_end_to_end(vitlab, fake_data, pretrained_file, experiment):
    short = ["trainer.max_epochs=2", "trainer.limit_train_batches=1", "trainer.check_val_every_n_epoch=1", "schedule.warmup_epochs=0"]
    small = ["data.batch_size=8", "compile=false", "hardware=cpu"]
    config = (conf_dir() / "experiment" / f"{experiment}.yaml").read_text()
    pretrained, looks = "/model: pretrained" in config, "/callbacks: default" not in config
    small += [f"model.weights=timm:{pretrained_file}", "data.image_size=32"] if pretrained else ["model.depth=1"]
    small += ["callbacks.attention.num_scored=8"] if looks else []
    ended = vitlab("train", f"experiment={experiment}", *fake_data(experiment), *short, *small)
    assert ended.status == 0, ended.err
    (record,) = Path("outputs", experiment).rglob("run.json")
    facts = json.loads(record.read_text())
    assert facts["status"] == "completed"
    assert facts["steps"] == 2
    assert 0.0 <= facts["metrics"]["test/accuracy"] <= 1.0
