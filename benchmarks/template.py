"""Training as a Lightning tutorial writes it: the usual way that vitlab's runs are held against."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from benchmarks.small import LR, MEAN, STD, WEIGHT_DECAY
from vitlab.data.image_data import ImageData


class Template(pl.LightningModule):
    """A classifier with metric objects, `self.log` in each step, AdamW and a cosine schedule."""

    def __init__(self, model: nn.Module, total_steps: int):
        super().__init__()
        self.model, self.total_steps = model, total_steps
        self.accuracy, self.val_accuracy, self.test_accuracy = (
            MulticlassAccuracy(10, average="micro") for _ in range(3)
        )

    def training_step(self, batch, batch_idx) -> Tensor:
        logits = self.model(batch[0])
        loss = F.cross_entropy(logits, batch[1])
        self.accuracy(logits, batch[1])
        self.log_dict({"train/loss": loss, "train/accuracy": self.accuracy})
        return loss

    def validation_step(self, batch, batch_idx) -> None:
        self.val_accuracy(self.model(batch[0]), batch[1])
        self.log("val/accuracy", self.val_accuracy)

    def test_step(self, batch, batch_idx) -> None:
        self.test_accuracy(self.model(batch[0]), batch[1])
        self.log("test/accuracy", self.test_accuracy)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), LR, weight_decay=WEIGHT_DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Transformed(TensorDataset):
    """Images that a transform makes one by one as they are asked for, and labels."""

    def __init__(self, images: Tensor, labels: Tensor, transform: nn.Module):
        super().__init__(images, labels)
        self.transform = transform

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(index)
        return self.transform(image), label


def loaders(
    data: ImageData, batch_size: int, transform: nn.Module | None = None
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Returns plain loaders of the same images in the same splits; `transform` takes a normalised training
    image."""
    made = []
    for name in ("train", "val", "test"):
        split = data.splits[name]
        images, labels = (split.samples.images[split.indices] / 255.0 - MEAN[0]) / STD[0], split.labels
        training = name == "train"
        samples = (
            Transformed(images, labels, transform)
            if training and transform
            else TensorDataset(images, labels)
        )
        made.append(DataLoader(samples, batch_size, shuffle=training, drop_last=training))
    return made[0], made[1], made[2]
