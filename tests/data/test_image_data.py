"""What training sees, and what everything else sees."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.probe_images import choose_probe_images
from vitlab.data.sources.folder import ImageFolder
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
