"""What the framework costs: microseconds a step of `vitlab train`'s module, callbacks and loop over a bare
loop of the same arithmetic.

Both train the same micro ViT with the same fused AdamW on the same batches in one process, in turn; loss and
accuracy are logged to TensorBoard every 20 steps by vitlab. A round counts by the median of its stretches of
20 steps, so that another process on the machine does not.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise

import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from benchmarks.machine import Setting, table
from benchmarks.peers import kernels_of
from benchmarks.small import MEAN, STD, digits, make_optimizer, make_schedule
from benchmarks.timing import spread
from vitlab.callbacks.finite import StopWhenNotFinite
from vitlab.callbacks.speed import Speed
from vitlab.data.image_data import ImageData
from vitlab.loggers.tensorboard import TensorBoard
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.objectives.classification import Classification
from vitlab.training.module import TrainingModule
from vitlab.training.trainer import Unprofiled, ask_once_for_gpus, quiet_lightning

LIBRARIES = ("pytorch-lightning", "tensorboard")
BATCH = 16
STRETCH = 20
"""Steps between two readings of the clocks, one of them a logging step; reading the CPU's clock can take as
long as a step's overhead."""

Moment = tuple[float, float]
"""Process time and wall time, in seconds."""


def now() -> Moment:
    return time.process_time(), time.perf_counter()


def per_step(times: list[Moment]) -> list[float]:
    """Returns microseconds a step, CPU and wall: the median over stretches; the first one warms up."""
    return [
        statistics.median((end[clock] - start[clock]) / STRETCH * 1e6 for start, end in pairwise(times[1:]))
        for clock in (0, 1)
    ]


class Watch(pl.Callback):
    """Notes the time at the start of a training batch, once in a stretch."""

    def __init__(self):
        self.times: list[Moment] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step % STRETCH == 0:
            self.times.append(now())


def micro_vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        LinearPatchEmbed(4, 1, 32), 8, 10, 32, 2, 2, class_token=False, global_pool="avg"
    )


def with_vitlab(data: ImageData, steps: int, run_dir: str) -> list[float]:
    watch = Watch()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        gradient_clip_val=1.0,
        logger=TensorBoard(run_dir),
        callbacks=[StopWhenNotFinite(), Speed(), watch],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=STRETCH,
        profiler=Unprofiled(),
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    trainer.fit(
        TrainingModule(
            micro_vit(), Classification(10, 0.0, "val/accuracy", "max"), make_optimizer, make_schedule, 0
        ),
        datamodule=data,
    )
    return per_step(watch.times)


def bare(data: ImageData, steps: int) -> list[float]:
    model = micro_vit().train()
    optimizer = make_optimizer(model.named_parameters())
    loader, step, times = data.train_dataloader(), 0, []
    schedule = make_schedule(optimizer, steps, len(loader))
    fixed = {"seed": 0, "num_classes": 10, "image_size": (8, 8), "mean": MEAN, "std": STD}
    while True:
        for batch in loader:
            if step % STRETCH == 0:
                times.append(now())
            if step == steps:
                return per_step(times)
            images, labels = data.augment(batch.images, batch.labels, number=batch.number, **fixed)
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1


def measure(setting: Setting) -> Iterator[str]:
    threads = setting.use_threads(1)
    rounds, steps = setting.rounds_or(5), 100 if setting.quick else 500
    quiet_lightning()
    ask_once_for_gpus()  # a gain of the bare loop's as well
    data = digits(BATCH)
    rows = []
    for _ in range(rounds):
        with (
            tempfile.TemporaryDirectory() as run_dir,
            kernels_of("vitlab"),
        ):  # for both: it is the rest that is compared
            rows.append((bare(data, steps), with_vitlab(data, steps, run_dir)))
    shown = []
    for clock, name in enumerate(("CPU", "wall")):
        over = [framed[clock] - base[clock] for base, framed in rows]
        shown.append(
            (
                name,
                spread([base[clock] for base, _ in rows], 0),
                spread([framed[clock] for _, framed in rows], 0),
                spread(over, 0),
            )
        )
    yield (
        f"### a step with batch {BATCH}, loss and accuracy logged, {threads} thread(s), {rounds} rounds of"
        f" {steps} steps"
    )
    yield table(("microseconds a step", "bare loop", "vitlab", "more"), shown)
