"""A callback for trainings that something is to happen to: name this folder in PYTHONPATH, and the file in
VITLAB_TARGETS."""

import time
from pathlib import Path

import pytorch_lightning as pl


class Slow(pl.Callback):
    """Has a run in FOLDER crawl from the step on that FOLDER.slow names, if there is such a file, so that
    there is time to do something to it; up to there it is as quick as it can be."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        file = Path(f"{trainer.default_root_dir}.slow")
        if file.exists() and trainer.global_step >= int(file.read_text()):
            time.sleep(3)
