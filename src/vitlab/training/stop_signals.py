"""How a run is asked to stop: all processes obey a signal at the end of the same step."""

import logging
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from vitlab.runs.record import Interrupted, ending_signals
from vitlab.slurm import queue_again_if_asked

log = logging.getLogger(__name__)

ECHO_SECONDS = 1.0
"""Further signals within this time are the first, passed on: torchrun and terminals tell each process."""


@contextmanager
def requeued() -> Iterator[None]:
    """Has the SLURM job of a run that a signal ended queue itself again where asked, once all is written."""
    try:
        yield
    except Interrupted as end:
        if rank_zero_only.rank == 0 and (line := queue_again_if_asked(int(end.code or 0) - 128)):
            log.warning("%s", line)
        raise


def children_of(trainer: pl.Trainer) -> list[subprocess.Popen]:
    """Returns the other processes of this machine where Lightning has started them from this one."""
    return getattr(trainer.strategy.launcher, "procs", [])


class NoOrphans(pl.Callback):
    """Ends the processes that Lightning started from this one when it fails: they would wait for ever."""

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        for child in children_of(trainer):
            child.kill()


class StopSignals:
    """Notes SIGINT, SIGTERM and a SLURM job's SIGUSR1; a second signal ends the process at once."""

    def __init__(self) -> None:
        self.noted: signal.Signals | None = None
        self._noted_at = 0.0
        self._handlers: dict[signal.Signals, Any] = {}
        self._group: dist.ProcessGroup | None = None
        self._asked: tuple[Any, Tensor] | None = None

    def listen(self, num_processes: int, timeout: timedelta | None) -> None:
        """Notes signals from now on; all processes of the run call this alike. A process waits for the
        answers of the others for at most `timeout`."""
        noted = (signal.SIGINT, *ending_signals())
        self._handlers = {each: signal.signal(each, self._note) for each in noted}
        if num_processes > 1:
            # on the CPU: no device waits for it
            self._group = dist.new_group(backend="gloo", timeout=timeout)  # type: ignore[assignment]

    def agreed(self) -> signal.Signals | None:
        """Returns the signal that the run obeys now, the same for all processes, which each call this at each
        step. A step's question is answered at the next one, so that no process waits for the others."""
        if self._group is None:
            return self.noted
        answer = self._answer()
        self._ask()
        return answer

    def last_word(self) -> signal.Signals | None:
        """Returns what `agreed` would return at the step after the last one."""
        return self.agreed() or self._answer()

    def _ask(self) -> None:
        number = torch.tensor(self.noted or 0)
        self._asked = dist.all_reduce(number, dist.ReduceOp.MAX, self._group, async_op=True), number

    def _answer(self) -> signal.Signals | None:
        if self._asked is None:
            return None
        (work, number), self._asked = self._asked, None
        work.wait()
        return signal.Signals(int(number)) if number else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.noted is None:
            self.noted, self._noted_at = signal.Signals(number), now
            log.info("%s: saving at the end of this step; once more: out at once", self.noted.name)
        elif self._group is None or now - self._noted_at > ECHO_SECONDS:
            self.ignore()
            raise Interrupted(signal.Signals(number), "at once")

    def ignore(self) -> None:
        """Gives the signals back to those who handled them before."""
        for each, handler in self._handlers.items():
            signal.signal(each, handler)
        self._handlers = {}


def leave_together(trainer: pl.Trainer, number: signal.Signals) -> None:
    """Ends this process after those that it has started; all call this at the same step."""
    children = children_of(trainer)
    left = children[:]
    children.clear()  # Lightning's observer kills this process when one of them ends with a status
    trainer.strategy.barrier()
    for child in left:
        child.wait()
    raise Interrupted(number, f"saved at step {trainer.global_step}")
