"""A callback that has something happen to a job of a sweep: name this folder in PYTHONPATH, and the file in
VITLAB_TARGETS."""

import os
import signal
import sys
import time
from pathlib import Path

import pytorch_lightning as pl


class Hitch(pl.Callback):
    """At step 3 a job raises, exits, or the first time is SIGKILLed; one that is slow sleeps HITCH_SECONDS of
    the environment after each step, unless SLURM starts it again."""

    def __init__(self, kind: str):
        self.kind = kind.rstrip("0123456789")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.kind == "slow" and "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(float(os.environ["HITCH_SECONDS"]))
        if trainer.global_step != 3:
            return
        if self.kind == "raise":
            raise RuntimeError("raised")
        if self.kind == "exit":
            sys.exit(3)
        mark = Path(trainer.default_root_dir) / "killed"
        if self.kind == "kill" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
