"""A callback for trainings that something is to happen to: name this folder in PYTHONPATH, and the file in
VITLAB_TARGETS."""

import os
import time

import pytorch_lightning as pl


class Slow(pl.Callback):
    """Sleeps after each step, so that there is time to do something to the run: SLOW="0.3 0" of the
    environment are the seconds when SLURM starts the job, and when it starts it again."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        time.sleep(float(os.environ["SLOW"].split()["SLURM_RESTART_COUNT" in os.environ]))
