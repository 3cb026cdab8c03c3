"""A callback that gets its own process into trouble after three steps, in the way that its config says."""

import os
import signal
import sys

import pytorch_lightning as pl
import torch


class Trouble(pl.Callback):
    def __init__(self, kind: str):
        self.kind = kind

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step != 3:
            return
        if self.kind == "raise":
            raise RuntimeError("raised")
        if self.kind == "exit":
            sys.exit(3)
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "memory":
            torch.ones(2**30)
        if self.kind == "diverge":
            with torch.no_grad():
                pl_module.model.head.weight.fill_(float("nan"))
