"""A process that has imported vitlab once and starts `vitlab train ...` in a fork of itself, as often as it is asked.

usage: starts.py    reads lines of JSON {"arguments": [...], "at": "...", "environment": {...}, "log": FILE}; answers with the exit status

What happens to a start, and when, `at` says for the callback `At`: "SIGKILL step 17 0.003" sends the signal that many seconds after step 17
is done, from a thread, wherever the run then is; "SIGTERM validation_batch_start 0" at the first such hook with that batch index.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback

import pytorch_lightning as pl
import torch


class At(pl.Callback):
    """Sends its own process signals at a moment that the environment names."""

    def __init__(self):
        names, self.moment, at, wait = (os.environ.get("AT", "") or "SIGKILL never 0 0").split()
        self.signals, self.at, self.wait = [getattr(signal, name) for name in names.split(",")], int(at), float(wait)

    def strike(self):
        for each in self.signals:
            os.kill(os.getpid(), each)

    def reach(self, moment, index=0):
        if self.moment == moment and self.at == index:
            self.strike()

    def on_train_start(self, trainer, pl_module):
        def watch():
            while trainer.global_step < self.at:
                time.sleep(2e-4)
            time.sleep(self.wait)
            self.strike()

        if self.moment == "step":
            threading.Thread(target=watch, daemon=True).start()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.reach("batch_start", trainer.global_step)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.reach("batch_end", trainer.global_step)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.reach("sanity_check" if trainer.sanity_checking else "validation", trainer.global_step)

    def on_test_start(self, trainer, pl_module):
        self.reach("test")


def train(arguments, at, environment, log):
    """Runs in the fork; returns the exit status."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of a background shell would ignore it
    os.environ.update(environment, AT=at)
    sys.argv = ["vitlab", "train", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    import vitlab.callbacks.evaluation
    import vitlab.commands.fill
    import vitlab.commands.fit
    import vitlab.commands.train
    import vitlab.data.sources.digits
    import vitlab.models.vit  # noqa: F401
    from vitlab import cli

    os.environ["VITLAB_TARGETS"] = "starts"
    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(train(**json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
