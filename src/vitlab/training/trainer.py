"""What train and test share of Lightning: building the trainer, and the tone of its messages."""

import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from vitlab.construct import build
from vitlab.data.image_data import ImageData
from vitlab.loggers.json_lines import MetricHistory
from vitlab.loggers.mlflow import PATIENCE
from vitlab.loggers.tell import run_loggers
from vitlab.models.kernels import describe, full_speed
from vitlab.models.vit import VisionTransformer
from vitlab.quirks import leave_signals_to_the_run, limit_waiting
from vitlab.ranks import rank_and_number
from vitlab.training.checkpoints import CheckpointFiles
from vitlab.training.fsdp import FullySharded
from vitlab.training.progress import ProgressLines
from vitlab.training.stop_signals import NoOrphans
from vitlab.uncertainty import likely_range

log = logging.getLogger(__name__)

SAID_IF_ASKED = {
    "profiler": "pytorch_lightning.profilers",
    "enable_model_summary": "pytorch_lightning.callbacks.model_summary",
}
"""Loggers by which Lightning shows what a key of the trainer asks for."""


def quiet_lightning(trainer: Mapping[str, Any] | None = None) -> None:
    """Silences what Lightning says on every run, but for real trouble and what the trainer's keys ask for."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for key, name in SAID_IF_ASKED.items():
        logging.getLogger(name).setLevel(logging.INFO if trainer and trainer.get(key) else logging.NOTSET)
    if rank_zero_only.rank != 0:  # one process of several speaks
        logging.getLogger().setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # whole batches come from memory: workers would only cost
        ".*smaller than the logging interval.*",  # the tally goes on across epochs
        ".*your dataloader is not resumable.*",  # the order of samples follows from the step
        # torchmetrics has added up all processes' counts already
        ".*recommended to use `self.log.*sync_dist=True.*",
        ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on
        ".*module.s. in eval mode.*",  # batch norms with fixed statistics are meant to be
        # where nothing is validated, as we say; else it is an error
        ".*could not find the monitored key in the returned metrics.*",
        ".*`srun` command is available on your system but is not used.*",  # on a cluster's login node, say
        ".*treespec, LeafSpec.*",  # Lightning 2.6.6 uses a name that torch 2.15 will drop
    ):
        warnings.filterwarnings("ignore", message)


def ask_once_for_gpus() -> None:
    """Tells torch once and for all that this machine has no CUDA device, where it has none. AdamW asks at
    each step, and Lightning has torch load NVIDIA's library anew each time: 0.15 ms a step."""
    if torch.cuda.device_count() == 0:
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


class Unprofiled(Profiler):
    """Measures nothing, at no cost: Lightning's own opens a generator at 40 places a step."""

    context = nullcontext()

    def start(self, action_name: str) -> None: ...

    def stop(self, action_name: str) -> None: ...

    def profile(self, action_name: str) -> nullcontext:  # type: ignore[override]
        return self.context


def build_callbacks(config: Mapping[str, Any]) -> list[pl.Callback]:
    """Builds the callbacks that a config names."""
    return [build(node, "callbacks") for node in config["callbacks"].values() if node]


UNHEARD = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
"""Else the makers of MLflow hear of its use, and those of W&B of its faults; whoever imports them."""


def build_loggers(config: Mapping[str, Any]) -> list[Logger]:
    """Builds the config's loggers, and the history that every run has. Raises ValueError for an object that
    is no logger."""
    for name, value in {**UNHEARD, **PATIENCE}.items():
        os.environ.setdefault(name, value)
    loggers = []
    for name, node in config["logger"].items():
        if node:
            try:
                loggers.append(build(node, "logger"))
            except ValueError:
                raise
            except Exception as error:  # whatever a tracker's package says of its settings, or of another one
                said = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise ValueError(f"logger.{name}._target_={node['_target_']}: {said}") from error
            if not isinstance(loggers[-1], Logger):
                raise ValueError(
                    f"logger.{name}._target_={node['_target_']} gives a {type(loggers[-1]).__name__}; a"
                    " vitlab.RunLogger or a pytorch_lightning.loggers.Logger would work"
                )
    run_loggers(loggers)  # in every process: Lightning will call them in each
    return [*loggers, MetricHistory(config["run_dir"])]


def build_trainer(config: Mapping[str, Any]) -> pl.Trainer:
    """Builds the trainer with the config's callbacks and loggers. It has a progress bar at a terminal;
    elsewhere a run writes a line an epoch."""
    ask_once_for_gpus()
    callbacks = [NoOrphans(), *build_callbacks(config)]
    at_terminal = sys.stderr.isatty()
    if not at_terminal:
        # which Lightning would refuse there
        callbacks = [each for each in callbacks if not isinstance(each, ProgressBar)]
        callbacks.append(ProgressLines())
    given = {
        "callbacks": callbacks,
        "logger": build_loggers(config),
        "enable_progress_bar": at_terminal,
        "plugins": [CheckpointFiles()],
    }
    if "SLURM_NTASKS" in os.environ and rank_and_number()[1] == 1:
        # Lightning would take one task for all of the run, whatever trainer.devices says
        given["plugins"].append(LightningEnvironment())
    if not any(isinstance(callback, Checkpoint) for callback in callbacks):  # or Lightning would choose one
        given["enable_checkpointing"] = False
    if config["trainer"].get("profiler") is None:
        given["profiler"] = Unprofiled()
    # which to Lightning is the older FSDP: without names and shapes, and not on CPU
    if config["trainer"]["strategy"] == "fsdp":
        given["strategy"] = FullySharded()
    node = {key: value for key, value in config["trainer"].items() if key not in given}
    trainer = build(node, "trainer", **given)
    leave_signals_to_the_run(trainer)
    if "peer_timeout_seconds" in config:  # a test's has none, nor has a record of before
        limit_waiting(trainer, config["peer_timeout_seconds"])
    return trainer


@contextmanager
def at_full_speed(trainer: pl.Trainer, model: nn.Module) -> Iterator[None]:
    """Runs the model by the fastest kernels of its device inside the block, and logs which."""
    device = trainer.strategy.root_device.type
    with full_speed(device) as chosen:
        if isinstance(model, VisionTransformer):
            num_tokens = model.num_prefix_tokens + model.grid[0] * model.grid[1]
            chosen = f"{describe(device, trainer.precision, num_tokens)}, {chosen}"
        log.info("kernels: %s", chosen, extra={"for_the_file": True})
        yield


def num_seen(trainer: pl.Trainer, data: ImageData, split: str) -> int:
    """Returns how many images of a split, val or test, a pass over it looks at."""
    batches = trainer.num_test_batches if split == "test" else trainer.num_val_batches
    return min(len(data.splits[split]), int(sum(batches)) * data.batch_size * trainer.world_size)


def test_result(metrics: Mapping[str, float], count: int | None, objective: Mapping[str, Any]) -> str:
    """Returns a line on a test, such as "test accuracy 91.20 %, loss 0.3102". `count` is the number of images
    (None where it is not known any more), `objective` has the facts of an objective."""
    if "test/loss" not in metrics:  # trainer.limit_test_batches=0
        return "not tested"
    parts = []
    for name in objective["headline"]:
        value = metrics[f"test/{name}"]
        if math.isnan(value):
            parts.append(f"{name} not defined on these images")
            continue
        if name not in objective["shares"]:
            parts.append(f"{name} {value:.4f}")
            continue
        likely = ""
        if count:
            low, high = likely_range(value, count)
            likely = f" (95 %: {100 * low:.1f} to {100 * high:.1f}, from {count:,} images)"
        parts.append(f"{name} {100 * value:.2f} %{likely}")
    parts.append(f"loss {metrics['test/loss']:.4f}")
    return f"test {', '.join(parts)}"
