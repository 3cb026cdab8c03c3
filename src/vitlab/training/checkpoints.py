"""Checkpoints that a run goes on from as if it had never stopped: when they are written, and which."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from vitlab.checkpoint.reading import read_checkpoint
from vitlab.data.source import Batch
from vitlab.files.atomic import remove_parts
from vitlab.files.sealed import write_sealed
from vitlab.loggers.tell import states
from vitlab.quirks import waiting_limit
from vitlab.runs.record import moved
from vitlab.training.place import batch_number
from vitlab.training.stop_signals import StopSignals, leave_together

log = logging.getLogger(__name__)

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"

SHARE = 0.02
"""The share of a run's time that checkpoints take at most: short epochs share one."""


class CheckpointFiles(CheckpointIO):
    """Writes Lightning's checkpoint files at one stroke, with a seal, and reads them as plain data."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replaces `path`; what stood there as LAST stays as PREVIOUS."""
        path = Path(path)
        keep = path.with_name(PREVIOUS) if path.name == LAST else None
        write_sealed(path, lambda file: torch.save(checkpoint, file), keep=keep)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def _check_state(state: Any, path: Path) -> None:
    """Raises ValueError where a checkpoint's `resume` part is not what `ResumeCheckpoint` writes."""
    parts = state if isinstance(state, dict) else {}
    loggers, metrics = parts.get("loggers"), parts.get("metrics")
    is_sound = {
        "step": type(parts.get("step")) is int and parts["step"] >= 0,
        "metrics": isinstance(metrics, dict) and all(isinstance(value, float) for value in metrics.values()),
        "loggers": isinstance(loggers, dict) and all(isinstance(each, dict) for each in loggers.values()),
    }
    for key, sound in is_sound.items():
        if not sound:
            raise ValueError(
                f"checkpoint={path}: its resume.{key} is not what `vitlab train` writes; another copy would"
                " work"
            )


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Returns a folder's newest sound checkpoint with its content, and says aloud which it passed over; None
    where none was written yet. Raises ValueError where there are some, but no sound one."""
    passed: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            checkpoint = read_checkpoint(path)
            if "resume" not in checkpoint:
                raise ValueError(f"checkpoint={path} was written by a vitlab that could not resume")
            _check_state(checkpoint["resume"], path)
        except ValueError as error:
            passed.append(str(error))
            continue
        for complaint in passed:
            log.warning("%s; going on from %s, step %d", complaint, path, checkpoint["resume"]["step"])
        return path, checkpoint
    if passed:
        raise ValueError(
            f"{'; '.join(passed)}; no sound checkpoint is left: without the folder {folder} the run would"
            " start anew"
        )
    return None


class ResumeCheckpoint(Checkpoint):
    """Keeps the two newest states of a run in `folder`: `last.ckpt` and `previous.ckpt`.

    A state is written once all that belongs to a step is done, validation included: every `every_steps`
    optimizer steps (None or 0: never), at the ends of epochs, at the end of training, and on SIGTERM, Ctrl-C
    or a SLURM job's SIGUSR1, after which the run stops; a second signal stops it at once.
    """

    def __init__(self, folder: str, every_steps: int | None = None):
        if every_steps is not None and every_steps < 0:
            raise ValueError(f"checkpoint_every_steps={every_steps} must be 0 or more")
        self.folder = Path(folder)
        self.every_steps = every_steps
        self._saved_step = 0
        self._saved_at = self._cost = 0.0
        self._is_finished = False
        self._metrics: dict[str, float] = {}  # of before a resume: Lightning starts with none
        self._signals = StopSignals()

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        if trainer.is_global_zero and stage == "fit":
            remove_parts(self.folder)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("resume", {})
        # also before max_steps, where a callback has stopped it
        trainer.should_stop = state.get("is_finished", False)
        self._saved_step = state.get("step", 0)
        self._metrics = state.get("metrics", {})
        written_in = checkpoint["vitlab"]["config"].get("run_dir", self.folder.parent)
        callbacks = checkpoint.get("callbacks", {})
        checkpoint["callbacks"] = moved(callbacks, str(written_in), str(self.folder.parent))

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._saved_at = time.monotonic()
        self._check(trainer, self._saved_step)
        self._signals.listen(trainer.world_size, waiting_limit(trainer))

    def _check(self, trainer: pl.Trainer, step: int) -> None:
        assert trainer.global_step == step, (
            f"the checkpoint is of step {step}, but Lightning counts {trainer.global_step}"
        )

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        step = trainer.global_step
        if batch_idx % trainer.accumulate_grad_batches:
            return
        stop = self._signals.agreed()
        if step != self._saved_step and (stop or self._is_due(trainer, step, batch_idx)):
            number = batch_number(trainer)
            assert batch.number == number, f"after step {step} comes batch {number}, and not {batch.number}"
            self._save(trainer)
        if stop:
            leave_together(trainer, stop)

    def _is_due(self, trainer: pl.Trainer, step: int, batch_idx: int) -> bool:
        if self.every_steps and step % self.every_steps == 0:
            return True
        if batch_idx:
            return False
        is_time = time.monotonic() - self._saved_at > self._cost / SHARE
        # all save or none does, or they would wait for each other for ever
        return trainer.strategy.broadcast(is_time)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._is_finished = True
        self._save(trainer)
        stop = self._signals.last_word()
        self._signals.ignore()
        if stop:
            leave_together(trainer, stop)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._signals.ignore()

    def _save(self, trainer: pl.Trainer) -> None:
        begin = time.monotonic()
        trainer.save_checkpoint(self.folder / LAST)
        self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
        self._cost = self._saved_at - begin

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        now = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint["resume"] = {
            "step": trainer.global_step,
            "is_finished": self._is_finished,
            "metrics": self._metrics | now,
            "loggers": states(trainer.loggers),
        }
