"""What metrics cost: the default ones, and all that an objective knows, asked for by name.

Runs that differ in `metrics=[...]` alone train in one process, in turn, and validate at each epoch's end;
a round is a whole fit. The model is that of experiment=digits_vit, the smallest there is, in which metrics
weigh most. A training step only counts what an interval logs, whatever is chosen; a validation takes all.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.machine import Setting, table
from benchmarks.small import digits, digits_vit, make_optimizer, make_schedule
from benchmarks.timing import ratios, spread
from vitlab.data.image_data import ImageData
from vitlab.data.samples import HeldImages, Samples
from vitlab.data.sources.digits import Digits
from vitlab.loggers.json_lines import MetricHistory
from vitlab.objectives.classification import Classification
from vitlab.objectives.label_metrics import OF_LABELS
from vitlab.objectives.metrics import OF_CLASSES
from vitlab.objectives.multilabel import MultiLabel
from vitlab.training.checkpoints import CheckpointFiles, ResumeCheckpoint
from vitlab.training.module import TrainingModule
from vitlab.training.trainer import Unprofiled, quiet_lightning

LIBRARIES = ("pytorch-lightning", "torchmetrics")
BATCH = 64
LABELS = 10
KINDS = ("classification", "multilabel")


class Clock(pl.Callback):
    """Counts this process's seconds of work, of a fit and of its validations."""

    def __init__(self) -> None:
        self.whole = self.validating = self.began = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.whole -= time.process_time()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.whole += time.process_time()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.began = time.process_time()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.validating += time.process_time() - self.began


class Divisible(Digits):
    """The digits with ten labels each: whether they are divisible by 2, by 3 and so on to 11."""

    targets = "labels"

    def load(self) -> dict[str, Samples]:
        held = super().load()["all"]
        labels = (held.labels[:, None] % torch.arange(2, 2 + LABELS) == 0).to(torch.int8)
        return {"all": HeldImages(held.fetch(torch.arange(len(labels))), labels)}


def fit(kind: str, data: ImageData, metrics: Sequence[str] | None, epochs: int) -> tuple[float, float, float]:
    """Returns milliseconds of processor time: a training step, a validation, the fit divided by its steps."""
    given: dict[str, Any] = {} if metrics is None else {"metrics": metrics}
    if kind == "classification":
        objective: Any = Classification(10, 0.1, "val/accuracy", "max", **given)
    else:
        objective = MultiLabel(LABELS, 0.0, "val/average_precision", "max", **given)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=[MetricHistory(folder)],
            callbacks=[ResumeCheckpoint(f"{folder}/checkpoints"), clock],
            plugins=[CheckpointFiles()],
            profiler=Unprofiled(),
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=20,
        )
        trainer.fit(
            TrainingModule(digits_vit(), objective, make_optimizer, make_schedule, 0), datamodule=data
        )
    steps = trainer.global_step
    training = clock.whole - clock.validating
    return 1e3 * training / steps, 1e3 * clock.validating / epochs, 1e3 * clock.whole / steps


def compare(kind: str, data: ImageData, rounds: int, epochs: int) -> Iterator[tuple[str, ...]]:
    """Yields a row for each thing that is timed."""
    catalogue = list(OF_CLASSES if kind == "classification" else OF_LABELS)
    named, steps = f"{kind}, {len(catalogue)} metrics", len(data.train_dataloader())
    taken: dict[str, list[tuple[float, float, float]]] = {"default": [], "all": []}
    for number in range(rounds + 1):
        order = list(taken) if number % 2 else list(taken)[::-1]
        for name in order:
            times = fit(kind, data, catalogue if name == "all" else None, epochs)
            if number:  # the first round warms up
                taken[name].append(times)
    default, every = (list(zip(*taken[name], strict=True)) for name in taken)
    for place, what in enumerate(("a training step", "a validation", "the fit, divided by its steps")):
        these, those = every[place], default[place]
        more = median(this - that for this, that in zip(these, those, strict=True))
        yield named, what, spread(those), spread(these), spread(ratios(these, those), 3), f"{more:.2f}"
    epoch = median(default[2]) * steps
    longer = [epoch + this - that for this, that in zip(every[1], default[1], strict=True)]
    over = [each / epoch for each in longer]
    yield named, f"an epoch of {steps} steps *", f"{epoch:.2f}", spread(longer), spread(over, 3), ""


def measure(setting: Setting) -> Iterator[str]:
    threads = setting.use_threads(1)
    rounds, epochs = setting.rounds_or(9), 2
    quiet_lightning()
    rows = []
    for kind in KINDS:
        source = Divisible() if kind == "multilabel" else Digits()
        rows += compare(kind, digits(BATCH, source=source), rounds, epochs)
    yield (
        f"### fits of {epochs} epochs, batch {BATCH}, {threads} thread(s), {rounds} rounds and one uncounted;"
        " milliseconds of processor time"
    )
    yield table(("", "", "default metrics", "all metrics", "all over default", "more, ms"), rows)
    yield (
        "* By what the validation adds alone: a training step runs the same code whatever is chosen, so what"
        " its row shows is how far two measurements of the same thing are apart here."
    )
