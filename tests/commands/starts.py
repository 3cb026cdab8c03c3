"""A process that has imported vitlab once and starts `vitlab train ...` in a fork of itself, as often as it
is asked.

usage: starts.py    reads lines of JSON {"arguments": [...], "at": "...", "environment": {...}, "log": FILE,
"processes": 1}; answers with the list of exit statuses. Several processes find in their environment what
torchrun would have put there. With "one_device": true each of them is the only one of its machine, so that
all find the same GPU, and they talk by gloo, because NCCL refuses that.

What happens to a start, and when, `at` says for the callback `At`: "SIGKILL step 17 0.003" sends the signal
that many seconds after step 17 is done, from a thread, wherever the run then is; "SIGTERM
validation_batch_start 0" at the first such hook with that batch index; "SIGTERM batch_end 7 0 1" only in the
process of rank 1.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module
from pkgutil import walk_packages

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only


class At(pl.Callback):
    """Sends its own process signals at a moment that the environment names."""

    def __init__(self):
        names, self.moment, at, wait, *ranks = (os.environ.get("AT", "") or "SIGKILL never 0 0").split()
        if ranks and os.environ.get("LOCAL_RANK", "0") not in ranks:
            self.moment = "never"
        self.signals, self.at, self.wait = (
            [getattr(signal, name) for name in names.split(",")],
            int(at),
            float(wait),
        )

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


class OneBadLoss(pl.Callback):
    """Makes the loss of the process of rank 1 no number at a logging step, which the others see one step
    later."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if pl_module.global_rank == 1 and trainer.global_step + 1 == trainer.log_every_n_steps:
            pl_module.tally._losses[-1] *= torch.nan


def train(arguments, at, environment, log):
    """Runs in the fork; returns the exit status."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of a background shell would ignore it
    os.environ.update(environment, AT=at)
    torch.set_num_threads(1)  # makes torch's pool anew; two threads that do so at once abort the process
    rank_zero_only.rank = int(environment.get("RANK", 0))  # Lightning has looked when it was imported
    if environment.get("BACKEND"):
        DDPStrategy._get_process_group_backend = lambda strategy: environment["BACKEND"]
    signal.alarm(
        100 if "RANK" in environment else 0
    )  # processes that wait for one that has ended would wait for ever
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


def places_of(number, one_device):
    """Environment of each process, as torchrun gives it."""
    if number == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "TORCHELASTIC_RUN_ID": "none",
        "WORLD_SIZE": str(number),
        "LOCAL_WORLD_SIZE": str(number),
        "GROUP_RANK": "0",
    }
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if one_device:
        shared |= {
            "LOCAL_WORLD_SIZE": "1",
            "LOCAL_RANK": "0",
            "TORCHELASTIC_USE_AGENT_STORE": "False",
            "BACKEND": "gloo",
        }
        return [shared | {"RANK": str(rank), "GROUP_RANK": str(rank)} for rank in range(number)]
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]


@cache
def compose_options(chosen):
    """Composes what these options lead to, as a command does, once for all forks that choose them; what is
    wrong with them is the fork's to tell."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from vitlab.config.compose import conf_dir, reference_config

    with suppress(Exception), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra.compose("train", list(chosen), return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        reference_config("train")
    HydraConfig.instance().cfg = None


def options_in(arguments):
    """Returns those of the arguments that choose an option of a group, such as optimizer=sgd."""
    from vitlab.config.conf_files import conf_dir

    return tuple(each for each in arguments if (conf_dir() / each.partition("=")[0]).is_dir())


def import_all():
    """Imports what a training needs, composes a config, so that Hydra has found its plugins and made its
    parsers, and looks at packages and checkout, but not at the hardware: each fork begins with all that, and
    takes 0.8 s instead of 1.6 s."""
    import unchanging  # noqa: F401

    import vitlab.commands.train  # noqa: F401
    from vitlab.runs import surroundings

    for room in ("callbacks", "checkpoint", "data", "loggers", "models", "objectives", "optim", "training"):
        package = import_module(f"vitlab.{room}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    compose_options(())
    surroundings.packages()
    surroundings.git_state()
    # looking at the hardware would start CUDA, and no fork could use it then
    assert not torch.cuda.is_initialized()


if __name__ == "__main__":
    from vitlab import cli

    import_all()
    os.environ["VITLAB_TARGETS"] = "starts"
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        compose_options(options_in(order["arguments"]))
        places = places_of(order.pop("processes"), order.pop("one_device", False))
        children = []
        for place in places:
            children.append(os.fork())
            if children[-1] == 0:
                order["environment"] |= place
                os._exit(train(**order))
        print(
            json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True
        )
