"""What trust costs: a step of `vitlab train`, which can be killed anywhere, over plain Lightning training of the same model.

    python benchmarks/trust.py [--rounds 5] [--epochs 6] [--threads 1]

Both train the model of experiment=digits_vit with AdamW on the same images in one process, in turn, and validate at each epoch's end.
vitlab reseeds each step, checks its place, keeps the metric history, logs to TensorBoard, and writes sealed checkpoints to go on from;
plain Lightning is a LightningModule as its tutorial has it: `self.log` of loss and accuracy, TensorBoardLogger, one ModelCheckpoint. A
round is the whole fit divided by its steps, CPU and wall time; printed are medians of the rounds' ratios and their range.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from vitlab.callbacks.checkpoints import CheckpointFiles, ResumeCheckpoint
from vitlab.callbacks.finite import StopWhenNotFinite
from vitlab.callbacks.speed import Speed
from vitlab.classifier import ImageClassifier
from vitlab.commands.lightning import Unprofiled, quiet_lightning
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.loggers import Dashboard, MetricHistory
from vitlab.models.patch_embed import ConvStem
from vitlab.models.vit import VisionTransformer
from vitlab.optim import adamw, warmup_schedule

BATCH, LR, DECAY = 64, 1e-3, 0.05


def make_model() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(ConvStem(2, 1, 64), 8, 10, 64, 4, 4, mlp_ratio=2.0, class_token=False, global_pool="avg")


def make_data() -> ImageData:
    split = {"val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0}
    data = ImageData(Digits(), Augment(), 8, 1, 10, BATCH, 0, **split, seed=0, mean=[0.3], std=[0.38])
    data.prepare_data()
    data.setup()
    return data


def make_optimizer(parameters):
    return adamw(parameters, lr=LR, weight_decay=DECAY, betas=(0.9, 0.999), layer_decay=1.0, frozen=[])


def make_schedule(optimizer, total_steps, steps_per_epoch):
    shape = {"shape": "cosine", "warmup_epochs": 0.0, "final_lr_ratio": 0.01, "frozen_epochs": 0, "unfrozen_lr_ratio": 1.0}
    return warmup_schedule(optimizer, total_steps, steps_per_epoch, **shape)


class Plain(pl.LightningModule):
    """As a tutorial writes it."""

    def __init__(self, total_steps):
        super().__init__()
        self.model, self.total_steps = make_model(), total_steps
        self.accuracy, self.val_accuracy = MulticlassAccuracy(10, average="micro"), MulticlassAccuracy(10, average="micro")

    def training_step(self, batch, batch_idx):
        logits = self.model(batch[0])
        loss = F.cross_entropy(logits, batch[1])
        self.accuracy(logits, batch[1])
        self.log_dict({"train/loss": loss, "train/accuracy": self.accuracy})
        return loss

    def validation_step(self, batch, batch_idx):
        self.val_accuracy(self.model(batch[0]), batch[1])
        self.log("val/accuracy", self.val_accuracy)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), LR, weight_decay=DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


SHARED = {
    "accelerator": "cpu",
    "gradient_clip_val": 1.0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 20,
    "num_sanity_val_steps": 0,
}


def timed(trainer, *arguments, **keywords):
    cpu, wall = time.process_time(), time.perf_counter()
    trainer.fit(*arguments, **keywords)
    return [(time.process_time() - cpu) / trainer.global_step * 1e3, (time.perf_counter() - wall) / trainer.global_step * 1e3]


def with_vitlab(data: ImageData, epochs: int, folder: str):
    callbacks = [ResumeCheckpoint(f"{folder}/checkpoints"), StopWhenNotFinite(), Speed()]
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=[Dashboard(folder), MetricHistory(folder)],
        callbacks=callbacks,
        plugins=[CheckpointFiles()],
        profiler=Unprofiled(),
        use_distributed_sampler=False,
        **SHARED,
    )
    return timed(trainer, ImageClassifier(make_model(), make_optimizer, make_schedule, 10, 0.0, 0), datamodule=data)


def plain(data: ImageData, epochs: int, folder: str):
    loaders = []
    for name in ("train", "val"):
        split = data.splits[name]
        images = (split.samples.images[split.indices] / 255.0 - 0.3) / 0.38
        loaders.append(DataLoader(TensorDataset(images, split.labels), BATCH, shuffle=name == "train", drop_last=name == "train"))
    trainer = pl.Trainer(max_epochs=epochs, logger=TensorBoardLogger(folder), callbacks=[ModelCheckpoint(folder)], **SHARED)
    return timed(trainer, Plain(epochs * len(loaders[0])), *loaders)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    quiet_lightning()
    data = make_data()
    rows = []
    for _ in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            rows.append((plain(data, options.epochs, one), with_vitlab(data, options.epochs, other)))
    machine = f"{platform.machine()}, {options.threads} of {os.cpu_count()} cores"
    print(f"torch {torch.__version__}, pytorch-lightning {pl.__version__}, {machine}")
    for name, column in (("CPU", 0), ("wall", 1)):
        ratios = sorted(ours[column] / theirs[column] for theirs, ours in rows[1:])  # the first round warms up
        print(f"{name}: {statistics.median(ratios):.3f} x plain Lightning [{ratios[0]:.3f} to {ratios[-1]:.3f}]")
    print(f"a plain step: {statistics.median(theirs[0] for theirs, _ in rows[1:]):.1f} ms CPU")


if __name__ == "__main__":
    main()
