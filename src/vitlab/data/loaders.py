"""Loaders of whole batches: the order is a sampler's, and each batch is fetched by one index operation."""

import signal
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from vitlab.data.fair_order import evaluation_order
from vitlab.data.sampler import OnceEach
from vitlab.randomness import generator_at


def _leave_signals_to_the_run(worker: int) -> None:
    """Lets a worker go on where the whole process group is asked to end, so that the run can still save."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(each, signal.SIG_IGN)


def place_of(trainer: Any) -> dict[str, int]:
    """Returns the rank of this process and how many there are; without a trainer it is the only one."""
    if trainer is None:
        return {"rank": 0, "world_size": 1}
    return {"rank": trainer.global_rank, "world_size": trainer.world_size}


def loader(split: Any, sampler: Sampler, num_workers: int) -> DataLoader:
    """Returns a loader of what `split` has at each index of `sampler`, fetched by other processes if any."""
    return DataLoader(
        split,
        batch_size=None,  # an index is a whole batch's
        sampler=sampler,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        worker_init_fn=_leave_signals_to_the_run if num_workers else None,
    )


def evaluation_loader(
    split: Any, name: str, trainer: Any, batch_size: int, seed: int, num_workers: int
) -> DataLoader:
    """Returns a loader of each sample of `split` once, "val" or "test" by `name`. They come as they lie.
    Where the trainer looks at a part of them only (`trainer.limit_val_batches`), the order follows from
    `seed` and every beginning of it is a fair choice over the classes."""
    place = place_of(trainer)
    limit = getattr(trainer, f"limit_{name}_batches", 1.0)
    generator = generator_at(seed, "evaluation order", name)
    order = evaluation_order(split.labels, limit, batch_size * place["world_size"], generator)
    return loader(split, OnceEach(order, batch_size, **place), num_workers)
