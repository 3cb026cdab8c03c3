"""What the framework costs: microseconds a step of `vitlab train`'s module, callbacks and loop over a bare loop of the same arithmetic.

    python benchmarks/overhead.py [--rounds 5] [--steps 400] [--threads 1]

Both train the same micro ViT with the same fused AdamW on the same batches in one process, in turn; loss and accuracy are logged to
TensorBoard every 20 steps by vitlab. Printed: the median of the rounds and their range, of the process's CPU time and of wall time;
a round counts by the median of its stretches of 20 steps, so that another process on the machine does not.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from itertools import pairwise

import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from vitlab.callbacks.finite import StopWhenNotFinite
from vitlab.callbacks.speed import Speed
from vitlab.classifier import ImageClassifier
from vitlab.commands.lightning import Unprofiled, quiet_lightning
from vitlab.data.augment.policy import Augment
from vitlab.data.image_data import ImageData
from vitlab.data.sources.digits import Digits
from vitlab.loggers import Dashboard
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.optim import adamw, warmup_schedule

BATCH, LR = 16, 1e-3


def make_model() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(LinearPatchEmbed(4, 1, 32), 8, 10, 32, 2, 2, class_token=False, global_pool="avg")


def make_data() -> ImageData:
    split = {"val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0}
    statistics_ = {"mean": [0.3], "std": [0.38]}
    data = ImageData(Digits(), Augment(), 8, 1, 10, BATCH, 0, **split, seed=0, **statistics_)
    data.prepare_data()
    data.setup()
    return data


def make_optimizer(parameters):
    return adamw(parameters, lr=LR, weight_decay=0.05, betas=(0.9, 0.999), layer_decay=1.0, frozen=[])


def make_schedule(optimizer, total_steps, steps_per_epoch):
    shape = {"shape": "cosine", "warmup_epochs": 0.0, "final_lr_ratio": 0.01, "frozen_epochs": 0, "unfrozen_lr_ratio": 1.0}
    return warmup_schedule(optimizer, total_steps, steps_per_epoch, **shape)


STRETCH = 20
"""Steps between two readings of the clocks, one of them a logging step; reading the CPU's clock can take as long as a step's overhead."""


def now():
    return time.process_time(), time.perf_counter()


class Clock(pl.Callback):
    """Notes the time at the start of a training batch, once in a stretch."""

    def __init__(self):
        self.times = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step % STRETCH == 0:
            self.times.append(now())


def per_step(times):
    """Microseconds a step, CPU and wall: the median over stretches; the first one warms up."""
    return [statistics.median((end[clock] - start[clock]) / STRETCH * 1e6 for start, end in pairwise(times[1:])) for clock in (0, 1)]


def with_vitlab(data: ImageData, steps: int, run_dir: str):
    clock = Clock()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        gradient_clip_val=1.0,
        logger=Dashboard(run_dir),
        callbacks=[StopWhenNotFinite(), Speed(), clock],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=STRETCH,
        profiler=Unprofiled(),
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    trainer.fit(ImageClassifier(make_model(), make_optimizer, make_schedule, 10, 0.0, 0), datamodule=data)
    return per_step(clock.times)


def bare(data: ImageData, steps: int):
    model = make_model().train()
    optimizer = make_optimizer(model.named_parameters())
    schedule = make_schedule(optimizer, steps, 80)
    loader, step = data.train_dataloader(), 0
    times = []
    while step < steps:
        for batch in loader:
            if step % STRETCH == 0:
                times.append(now())
            images, labels = data.augment(
                batch.images, batch.labels, seed=0, number=batch.number, num_classes=10, image_size=(8, 8), mean=[0.3], std=[0.38]
            )
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step == steps:
                break
    return per_step(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    quiet_lightning()
    data = make_data()
    differences = []
    for _ in range(options.rounds):
        base = bare(data, options.steps)
        with tempfile.TemporaryDirectory() as run_dir:
            framed = with_vitlab(data, options.steps, run_dir)
        differences.append([framed[0] - base[0], framed[1] - base[1], base[1]])
    machine = f"{platform.machine()}, {options.threads} of {os.cpu_count()} cores"
    print(f"torch {torch.__version__}, pytorch-lightning {pl.__version__}, {machine}")
    for name, column in (("CPU", 0), ("wall", 1)):
        values = sorted(row[column] for row in differences)
        print(f"{name}: {statistics.median(values):.0f} us a step over the bare loop [{values[0]:.0f} to {values[-1]:.0f}]")
    print(f"the bare step itself: {statistics.median(row[2] for row in differences):.0f} us")


if __name__ == "__main__":
    main()
