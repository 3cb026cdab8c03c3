"""What trust costs: a step of `vitlab train`, which can be killed anywhere, over plain Lightning training of
the same model.

Both train the model of experiment=digits_vit with AdamW on the same images in one process, in turn, and
validate at each epoch's end. vitlab reseeds each step, checks its place, keeps the metric history, logs to
TensorBoard, and writes sealed checkpoints to go on from; plain Lightning is a LightningModule as its tutorial
has it: `self.log` of loss and accuracy, TensorBoardLogger, one ModelCheckpoint. A round is the whole fit
divided by its steps.
"""

import tempfile
import time
from collections.abc import Iterator

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from benchmarks.machine import Setting, table
from benchmarks.peers import kernels_of
from benchmarks.small import digits, digits_vit, make_optimizer, make_schedule
from benchmarks.template import Template, loaders
from benchmarks.timing import ratios, spread
from vitlab.callbacks.finite import StopWhenNotFinite
from vitlab.callbacks.speed import Speed
from vitlab.data.image_data import ImageData
from vitlab.loggers.json_lines import MetricHistory
from vitlab.loggers.tensorboard import TensorBoard
from vitlab.objectives.classification import Classification
from vitlab.training.checkpoints import CheckpointFiles, ResumeCheckpoint
from vitlab.training.module import TrainingModule
from vitlab.training.trainer import Unprofiled, quiet_lightning

LIBRARIES = ("pytorch-lightning", "tensorboard")
BATCH = 64
SHARED = {
    "accelerator": "cpu",
    "gradient_clip_val": 1.0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 20,
    "num_sanity_val_steps": 0,
}


def timed(trainer: pl.Trainer, *arguments, **keywords) -> tuple[float, float]:
    """Fits, and returns milliseconds a step, CPU and wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    trainer.fit(*arguments, **keywords)
    return (time.process_time() - cpu) / trainer.global_step * 1e3, (
        time.perf_counter() - wall
    ) / trainer.global_step * 1e3


def with_vitlab(data: ImageData, epochs: int, folder: str) -> tuple[float, float]:
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=[TensorBoard(folder), MetricHistory(folder)],
        callbacks=[ResumeCheckpoint(f"{folder}/checkpoints"), StopWhenNotFinite(), Speed()],
        plugins=[CheckpointFiles()],
        profiler=Unprofiled(),
        use_distributed_sampler=False,
        **SHARED,
    )
    return timed(
        trainer,
        TrainingModule(
            digits_vit(), Classification(10, 0.0, "val/accuracy", "max"), make_optimizer, make_schedule, 0
        ),
        datamodule=data,
    )


def plain(data: ImageData, epochs: int, folder: str) -> tuple[float, float]:
    train, val, _ = loaders(data, BATCH)
    trainer = pl.Trainer(
        max_epochs=epochs, logger=TensorBoardLogger(folder), callbacks=[ModelCheckpoint(folder)], **SHARED
    )
    return timed(trainer, Template(digits_vit(), epochs * len(train)), train, val)


def measure(setting: Setting) -> Iterator[str]:
    threads = setting.use_threads(1)
    rounds, epochs = setting.rounds_or(5), 2 if setting.quick else 6
    quiet_lightning()
    data = digits(BATCH)
    theirs, ours = [], []
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            those = plain(data, epochs, one)
            with kernels_of("vitlab"):
                these = with_vitlab(data, epochs, other)
        if number:  # the first round warms up
            theirs.append(those)
            ours.append(these)
    rows = []
    for clock, name in enumerate(("CPU", "wall")):
        those, these = [each[clock] for each in theirs], [each[clock] for each in ours]
        rows.append((name, spread(those, 1), spread(these, 1), spread(ratios(these, those))))
    yield (
        f"### a fit of {epochs} epochs divided by its steps, batch {BATCH}, {threads} thread(s), {rounds}"
        " rounds and one uncounted"
    )
    yield table(("milliseconds a step", "plain Lightning", "vitlab", "vitlab's time over it"), rows)
