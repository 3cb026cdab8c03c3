"""The LightningDataModule of images: it splits a source, fetches uint8 batches, and augments them."""

import logging
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from vitlab.data.augment.mixing import unweighted
from vitlab.data.augment.policy import Augment
from vitlab.data.copies import describe_copies
from vitlab.data.files.bands import bands_for_people
from vitlab.data.files.decoded import DecodedFiles
from vitlab.data.files.fit import sides
from vitlab.data.known_split import KnownSplit, keep_split
from vitlab.data.loaders import evaluation_loader, loader, place_of
from vitlab.data.looked_at import splits_to_look_at
from vitlab.data.preprocessing import Preprocessing
from vitlab.data.sampler import EpochOrder, Sampling, sampling_weights
from vitlab.data.samples import Samples
from vitlab.data.source import Batch, Source
from vitlab.data.splits import Split, check_shares, describe_absent, make_splits
from vitlab.data.statistics import check_statistics, measure_statistics
from vitlab.data.targets import TargetKind, check_kind, kind_of
from vitlab.data.training_crops import TrainingCrops
from vitlab.data.units import describe_units
from vitlab.shapes import Pixels

log = logging.getLogger(__name__)


class ImageData(pl.LightningDataModule):
    """Serves `source` in batches of `batch_size` images a device.

    `image_size` is what the model sees: smaller stored images are enlarged, larger ones cropped (at random in
    training, in the centre otherwise). Everywhere but in training it sees `eval_size` (None: the same), as in
    Touvron et al. 2019 (arXiv:1906.06423). `mean` and `std` have one value a channel, on a scale from 0 to 1;
    without them they are measured on the training split. `shown_bands` are the channels that people see as
    red, green and blue, where there are more than three. Splits depend on `split_seed` only, and with
    `num_folds` on the `fold` that is held back; order and augmentation depend on `seed`.
    """

    def __init__(
        self,
        source: Source,
        augment: Augment,
        image_size: int | list[int],
        in_channels: int,
        num_classes: int,
        batch_size: int,
        num_workers: int,
        val_fraction: float,
        test_fraction: float,
        split_seed: int,
        seed: int,
        mean: list[float] | None,
        std: list[float] | None,
        eval_size: int | list[int] | None = None,
        sampling: Sampling = "uniform",
        shown_bands: list[int] | None = None,
        num_folds: int | None = None,
        fold: int = 0,
        targets: TargetKind = "class",
    ):
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size={batch_size} must be at least 1")
        if num_workers < 0:
            raise ValueError(f"data.num_workers={num_workers} must be 0 or more")
        check_statistics(mean, std, in_channels)
        self.source = source
        self.augment = augment
        self.image_size = sides("image_size", image_size)
        self.eval_size = self.image_size if eval_size is None else sides("eval_size", eval_size)
        if any(shown < trained for shown, trained in zip(self.eval_size, self.image_size, strict=True)):
            raise ValueError(
                f"data.eval_size={eval_size} is below data.image_size={image_size}; as large or larger would"
                " work"
            )
        self.in_channels = in_channels
        self.bands_for_people = bands_for_people(in_channels, shown_bands)
        """The channels that pictures show as red, green and blue."""
        augment.check_images(self.image_size, in_channels)
        self.num_classes = num_classes
        self.batch_size = batch_size
        self.num_workers = num_workers
        check_shares(val_fraction, test_fraction, num_folds, fold)
        self.shares: dict[str, Any] = {"val_fraction": val_fraction, "test_fraction": test_fraction}
        self.shares |= {"num_folds": num_folds, "fold": fold}
        self.split_seed = split_seed
        self.seed = seed
        self.sampling: Sampling = sampling
        self.targets: TargetKind = targets
        self.mean = mean or []
        self.std = std or []
        self.splits: dict[str, Split] = {}
        self.fingerprint: str | None = None
        """Hash of the source's content, from `setup` on."""
        self.looked_at: tuple[str, KnownSplit] | None = None
        """What a trained model is to look at: a split's name and its run's images there. None in training."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    def check(self) -> None:
        """Raises ValueError where data is missing or not what the config says, without reading an image."""
        check_kind(self.targets, self.source.targets, type(self.source).__name__)
        if self.source.stored_size:
            self.augment.check_stored(self.source.stored_size)
        if self.source.is_here():
            self._check_classes()

    def _check_classes(self) -> None:
        names = self.class_names
        if len(names) != self.num_classes:
            raise ValueError(
                f"data.num_classes={self.num_classes}, but the data has {len(names)} classes:"
                f" {', '.join(names[:12])}"
            )

    def prepare_data(self) -> None:
        if not self.splits:  # Lightning calls this again before it fits and before it tests
            self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Loads and splits the images, once. Raises ValueError where data and config disagree."""
        if self.splits:
            return
        self._check_classes()
        parts = self.source.load()
        for samples in parts.values():
            check_kind(self.targets, kind_of(samples.labels), type(self.source).__name__)
            if (channels := samples.size[0]) != self.in_channels:
                way = f"data.in_channels={channels} would work"
                raise ValueError(
                    f"data.in_channels={self.in_channels}, but the images have {channels}; {way}"
                )
        self.fingerprint = self.source.fingerprint(parts)
        self.splits = self._divided(parts)
        if len(self.splits) == 1:  # looked at by the model of another run, which knows mean and deviation
            return
        self.splits["train"].weigh()
        for line in describe_units(self.splits["train"].samples):
            log.info("%s", line)
        for line in [*describe_copies(self.splits), *describe_absent(self.splits, self.class_names)]:
            log.warning("%s", line)
        if not (self.mean and self.std):
            self.mean, self.std = measure_statistics(self.splits["train"])

    def _divided(self, parts: dict[str, Samples]) -> dict[str, Split]:
        assert self.fingerprint is not None
        if set(parts) == {"test"}:  # of a `Whole` one
            return {"test": Split(parts["test"], torch.arange(len(parts["test"])))}
        cut = partial(make_splits, parts, **self.shares, seed=self.split_seed, class_names=self.class_names)
        if self.looked_at is None:
            return cut()
        name, known = self.looked_at
        return splits_to_look_at(name, parts, known, self.fingerprint, cut)

    def holds_back(self, name: str) -> bool | None:
        """Tells whether the split "val" or "test" will have images; None where only loading shows it."""
        if self.splits:
            return len(self.splits[name]) > 0
        if self.shares[f"{name}_fraction"] or (self.shares["num_folds"] and name == "test"):
            return True
        own = self.source.own_parts() if self.source.is_here() else None
        return None if own is None else name in own or bool(self.shares["num_folds"] and "test" in own)

    def facts(self) -> dict[str, Any]:
        """Returns what a run record keeps of the data: its hash, and each split's size and hash."""
        assert self.fingerprint is not None, "setup() comes first"
        splits = {
            name: {"images": len(split), "fingerprint": split.fingerprint()}
            for name, split in self.splits.items()
        }
        return {"fingerprint": self.fingerprint, "splits": splits}

    def kept_split(self) -> dict[str, Any]:
        """Returns what a checkpoint needs to know of the data and its splits; see `known_split`."""
        assert self.fingerprint is not None, "setup() comes first"
        return keep_split(self.fingerprint, self.splits)

    def preprocessing(self) -> Preprocessing:
        """Returns what turns a photograph into this model's input, from `setup` on."""
        _, height, width = next(iter(self.splits.values())).samples.size
        return Preprocessing(
            stored_size=(height, width),
            image_size=self.eval_size,
            in_channels=self.in_channels,
            interpolation=self.source.interpolation,
            mean=tuple(self.mean),
            std=tuple(self.std),
            white=self.source.white,
            fit=self.source.fit,
            value_range=self.source.value_range,
            npy_layout=self.source.npy_layout,
            shown_bands=None if self.in_channels <= 3 else self.bands_for_people,
        )

    def view(self, pixels: Pixels) -> Float[Tensor, "batch channels {self.eval_size[0]} {self.eval_size[1]}"]:
        """Returns what the model sees of stored images in evaluation, on their device."""
        return self.preprocessing().view(pixels)

    def training_order(self) -> EpochOrder:
        """Returns the order of this process's training samples; `sampling` says how they are drawn."""
        split, place = self.splits["train"], place_of(self.trainer)
        weights = sampling_weights(split.labels, self.sampling)
        return EpochOrder(len(split), self.batch_size, self.seed, **place, weights=weights)

    def train_dataloader(self) -> DataLoader:
        split = self.splits["train"]
        if not self._cuts_originals():
            return loader(split, self.training_order(), self.num_workers)
        assert self.augment.resized_crop is not None
        crop, place = self.augment.resized_crop, place_of(self.trainer)
        crops = TrainingCrops(split, crop, self.augment.flip, self.image_size, self.seed, **place)
        return loader(crops, self.training_order(), self.num_workers)

    def _cuts_originals(self) -> bool:
        """Tells whether training's crops are cut from original files, by whoever decodes them."""
        is_decoded_anew = isinstance(self.splits["train"].samples, DecodedFiles)
        return is_decoded_anew and self.augment.resized_crop is not None

    def _evaluation_loader(self, name: str) -> DataLoader:
        how = (self.batch_size, self.split_seed, self.num_workers)
        return evaluation_loader(self.splits[name], name, self.trainer, *how)

    def val_dataloader(self) -> DataLoader:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._evaluation_loader("test")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        # Lightning would search the batch for tensors, 0.2 ms each time
        return batch.to(device)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if not (self.trainer and self.trainer.training):
            return Batch(self.view(batch.images), batch.labels, batch.number)
        mixes_weights = batch.weights is not None and self.augment.mixes
        weights, is_cropped = batch.weights, self._cuts_originals()
        given = {"mean": self.mean, "std": self.std, "image_size": self.image_size}
        given |= {"num_classes": self.num_classes, "seed": self.seed, **place_of(self.trainer)}
        given |= {"is_cropped": is_cropped, "weights": weights if mixes_weights else None}
        images, labels = self.augment(batch.images, batch.labels, number=batch.number, **given)
        if mixes_weights:
            labels, weights = unweighted(labels)
        return Batch(images, labels, batch.number, weights)
