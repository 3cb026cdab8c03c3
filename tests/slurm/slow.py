"""A callback for trainings that something is to happen to: name this folder in PYTHONPATH, and the file in
VITLAB_TARGETS."""

import os
import time

import pytorch_lightning as pl


class Slow(pl.Callback):
    """Sleeps after each step for SLOW_SECONDS of the environment, so that there is time to do something to
    the run."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        time.sleep(float(os.environ["SLOW_SECONDS"]))
