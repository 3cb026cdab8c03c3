"""What training sees, and what everything else sees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.probe_images import choose_probe_images
from vitlab.data.sources.folder import ImageFolder
from vitlab.pictures.drawing import photograph
from vitlab.predictor import Predictor


class Watcher(pl.LightningModule):
    """Keeps the images that Lightning hands to a model."""

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))
        self.seen = {}

    def training_step(self, batch):
        self.seen["train"] = batch.images
        return self.bias.sum()

    def validation_step(self, batch):
        self.seen.setdefault("val", batch.images)

    def configure_optimizers(self):
        return torch.optim.SGD([self.bias], lr=0.1)


def test_evaluation_at_another_size_is_what_the_preprocessing_says_and_training_keeps_its_own(
    photo_folder, tmp_path
):
    source = ImageFolder(str(photo_folder()), 48, cache_dir=str(tmp_path / "cache"))
    fixed: dict[str, Any] = {
        "val_fraction": 0.25,
        "test_fraction": 0.25,
        "split_seed": 0,
        "seed": 0,
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
    }
    data = ImageData(source, Augment(resized_crop=[0.5, 1.0]), 32, 3, 3, 4, 0, eval_size=[40, 48], **fixed)
    watcher = Watcher()
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    pl.Trainer(accelerator="cpu", max_epochs=1, limit_train_batches=1, num_sanity_val_steps=0, **quiet).fit(
        watcher, datamodule=data
    )
    assert watcher.seen["train"].shape[2:] == (32, 32)

    predictor = Predictor(torch.nn.Identity(), data.class_names, data.preprocessing(), "cpu")
    files = [file for folder in sorted(Path(source.root).iterdir()) for file in sorted(folder.iterdir())]
    expected = predictor.prepare([predictor.read(file) for file in files])
    assert torch.equal(watcher.seen["val"], expected[data.splits["val"].indices[:4]])
    probe = choose_probe_images(data, 5, 0)
    assert torch.equal(probe.images, expected[probe.indices])


def test_bands_go_from_files_to_what_the_model_and_people_see(tmp_path):
    values = np.random.default_rng(0).integers(0, 2000, (24, 16, 20, 5)).astype(np.int16)
    for index, picture in enumerate(values):
        folder = tmp_path / "data" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{index:02d}.npy", picture)
    source = ImageFolder(
        str(tmp_path / "data"), [16, 20], 5, str(tmp_path / "cache"), value_range=[0, 1900], fit="squash"
    )
    fixed: dict[str, Any] = {"val_fraction": 0.25, "test_fraction": 0.25, "split_seed": 0, "seed": 0}

    def data_of(shown_bands):
        return ImageData(
            source, Augment(), [16, 20], 5, 2, 4, 0, mean=None, std=None, shown_bands=shown_bands, **fixed
        )

    data = data_of([4, 0, 2])
    data.setup()
    facts = data.preprocessing()
    assert len(facts.mean) == 5 and (facts.fit, facts.value_range) == ("squash", (0, 1900))
    batch = next(iter(data.val_dataloader()))
    file = tmp_path / "data" / "a" / "00.npy"
    levels = np.clip(np.floor(values[0] * (255 / 1900) + 0.5), 0, 255)
    assert (facts.read(file).permute(1, 2, 0).numpy() == levels).all()
    assert (facts.read_for_people(file) == levels[..., [4, 0, 2]]).all()
    seen = photograph(data.view(batch.images)[0], data.mean, data.std, data.bands_for_people)
    assert (seen == batch.images[0, [4, 0, 2]].permute(1, 2, 0).numpy()).all()
    for wrong in ([0, 1], [0, 1, 5], [0, 1, -1]):
        with pytest.raises(ValueError, match="give three channels from 0 to 4"):
            data_of(wrong)


def test_values_beyond_the_stated_range_are_counted_aloud(tmp_path, caplog):
    for name, most in (("a/0", 10), ("a/1", 30), ("b/0", 20), ("b/1", 31)):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / f"{name}.npy", np.full((8, 8, 2), most, np.float32))
    ImageFolder(str(tmp_path / "data"), 8, 2, str(tmp_path / "cache"), value_range=[0, 20]).load()
    assert "2 picture(s) have values outside data.value_range=[0,20], which were clipped to it" in caplog.text
