"""The LightningDataModule of a linear probe: a frozen model's features in place of the images."""

import logging
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vitlab.data.features import compute_features, model_fingerprint, open_features
from vitlab.data.files.store import cache_root
from vitlab.data.image_data import ImageData
from vitlab.data.loaders import evaluation_loader, loader
from vitlab.data.source import Batch
from vitlab.data.splits import Split

log = logging.getLogger(__name__)


class FeatureSplit(Dataset[Batch]):
    """Features and labels of one split, fetched a batch at a time by `split[(number, positions)]`."""

    def __init__(self, features: Tensor, labels: Tensor, weights: Tensor | None = None):
        self.features = features
        self.labels = labels
        self.weights = weights

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: tuple[int, Tensor]) -> Batch:
        number, positions = at
        weights = None if self.weights is None else self.weights[positions]
        return Batch(self.features[positions], self.labels[positions], number, weights)


class FeatureData(pl.LightningDataModule):
    """Serves the features that `model` has for the images of `data`, all of them as evaluation sees them, in
    the order of `data`.

    Features are computed `batch_size` images at a time in the trainer's precision, once for these weights,
    images and preprocessing, and kept under `cache_dir` (None: the user's cache folder). One device only.
    """

    def __init__(self, data: ImageData, model: nn.Module, batch_size: int, cache_dir: str | None):
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"features.batch_size={batch_size} must be at least 1")
        self.data = data
        self.model = model
        self.batch_size = batch_size
        self.root = cache_root(cache_dir) / "features"
        self.class_names = data.class_names
        self.mean: list[float] = []
        self.std: list[float] = []
        self.splits: dict[str, FeatureSplit] = {}

    def setup(self, stage: str | None = None) -> None:
        """Opens or computes the features of every split; later calls do nothing."""
        if self.splits:
            return
        trainer = self.trainer
        assert trainer is not None, "Lightning calls this"
        if (count := trainer.world_size) > 1:
            raise ValueError(
                f"features: {count} devices; a probe trains on one in seconds: trainer.devices=1"
            )
        data = self.data
        data.setup()
        self.mean, self.std = data.mean, data.std
        known = data.facts()
        facts: dict[str, Any] = {
            "model": model_fingerprint(self.model),
            "data": known["fingerprint"],
            "preprocessing": data.preprocessing().as_plain(),
            "precision": str(trainer.precision),
        }
        self.model.to(trainer.strategy.root_device)
        for name, split in data.splits.items():
            if not len(split):
                self.splits[name] = FeatureSplit(torch.empty(0, 0), split.labels)
                continue
            of_split = facts | {"split": [name, known["splits"][name]["fingerprint"]]}
            features = open_features(self.root, len(split), of_split, partial(self._compute, name, split))
            self.splits[name] = FeatureSplit(features, split.labels, split.weights)

    def _compute(self, name: str, split: Split) -> Tensor:
        trainer, data = self.trainer, self.data
        assert trainer is not None
        device = trainer.strategy.root_device

        def fetch(positions: Tensor) -> Tensor:
            return data.view(split[(0, positions)].images.to(device))

        what = "the next run finds them in"
        log.info("computing the features of %d %s images; %s %s", len(split), name, what, self.root)
        precision = trainer.precision_plugin.forward_context
        return compute_features(self.model, fetch, len(split), self.batch_size, precision, name)

    def train_dataloader(self) -> DataLoader:
        return loader(self.splits["train"], self.data.training_order(), num_workers=0)

    def _evaluation_loader(self, name: str) -> DataLoader:
        data, split = self.data, self.splits[name]
        return evaluation_loader(split, name, self.trainer, data.batch_size, data.split_seed, num_workers=0)

    def val_dataloader(self) -> DataLoader:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._evaluation_loader("test")
