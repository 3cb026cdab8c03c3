"""Batch normalisation in a run of several processes: whose images its statistics are of."""

import logging

import pytorch_lightning as pl
from torch import nn

from vitlab.training.fsdp import FullySharded
from vitlab.training.module import BATCH_NORMS

log = logging.getLogger(__name__)


def tell_of_batch_norms(trainer: pl.Trainer, model: nn.Module, is_synchronized: bool) -> None:
    """Says in a line that several processes do not learn as one does where batch normalisation takes its
    statistics from the images of each process alone. Raises ValueError where they are to be shared
    (`trainer.sync_batchnorm`), and torch cannot."""
    if trainer.num_devices * trainer.num_nodes == 1:
        return
    norms = [name for name, each in model.named_modules() if isinstance(each, BATCH_NORMS) and each.training]
    shares = trainer.strategy.root_device.type == "cuda" and not isinstance(trainer.strategy, FullySharded)
    if is_synchronized and not shares:
        raise ValueError(
            "trainer.sync_batchnorm=true: statistics are shared on GPUs under trainer.strategy=ddp alone;"
            " without it each process takes its own"
        )
    if norms and not is_synchronized:
        way = "trainer.sync_batchnorm=true shares them; " if shares else ""
        log.warning(
            "%s%s: batch normalisation takes its statistics from the images of each process alone, so losses"
            " differ from those of one process; %spatch_embed=linear has none",
            norms[0],
            f" and {len(norms) - 1} more" if len(norms) > 1 else "",
            way,
        )
