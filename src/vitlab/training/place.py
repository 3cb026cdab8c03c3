"""Where a run is: all follows from the number of steps done, and Lightning's counters are made to."""

import math
from typing import Any, NamedTuple

import pytorch_lightning as pl

from vitlab.quirks import loop_state, restart_fetching


class Place(NamedTuple):
    """The numbers of whole epochs done, and of batches after them: Place(3, 0) at the end of the third."""

    epoch: int
    batch: int


def place_of(trainer: pl.Trainer) -> Place:
    """Returns where the trainer's global step is."""
    accumulated = trainer.accumulate_grad_batches
    epoch, steps = divmod(trainer.global_step, math.ceil(trainer.num_training_batches / accumulated))
    return Place(epoch, steps * accumulated)


def batch_number(trainer: pl.Trainer) -> int:
    """Returns the `number` of the batch that comes next; see `EpochOrder`."""
    place = place_of(trainer)
    return place.epoch * len(_sampler(trainer)) + place.batch


def _sampler(trainer: pl.Trainer) -> Any:
    loader: Any = trainer.train_dataloader
    return loader.sampler


def _counts(ready: int, completed: int) -> dict[str, dict[str, int]]:
    counts = {"ready": ready, "started": ready, "processed": ready, "completed": completed}
    return {"total": counts, "current": dict(counts)}


def write_place(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Makes the loops' state in a checkpoint that of a run which has done all that belongs to its steps,
    validation included.

    Lightning's counters depend on the hook that saves, and go wrong for good after a resume from an epoch's
    last batch. In the middle of an epoch the state is the one that Lightning itself would leave at a batch's
    end, where its resume is right.
    """
    place, loops = place_of(trainer), checkpoint["loops"]["fit_loop"]
    inside = place.batch > 0
    epochs = _counts(place.epoch, place.epoch)
    batches = _counts(place.batch, place.batch - inside)
    done = place.epoch * int(trainer.num_training_batches) + place.batch
    for counts in epochs.values():
        counts |= {"ready": place.epoch + inside, "started": place.epoch + inside}
    batches["total"] = {"ready": done, "started": done, "processed": done, "completed": done - inside}
    loops["epoch_progress"] = epochs
    loops["epoch_loop.batch_progress"] = batches | {"is_last_batch": False}
    loops["epoch_loop.val_loop.batch_progress"] = _counts(0, 0) | {"is_last_batch": False}
    # by the rest of the step, which Lightning counts then
    goes_on = inside and not checkpoint.get("resume", {}).get("is_finished")
    loops["epoch_loop.state_dict"] = loop_state(trainer.global_step - goes_on)


def start_from_place(trainer: pl.Trainer) -> None:
    """Lets the order of samples go on at the global step, once Lightning has restored its loops."""
    if trainer.global_step == 0:
        return
    fit_loop: Any = trainer.fit_loop
    place = place_of(trainer)
    batches = fit_loop.epoch_loop.batch_progress.current.ready
    counted = Place(fit_loop.epoch_progress.current.completed, batches)
    assert counted == place, f"step {trainer.global_step} is at {place}, but Lightning counts {counted}"
    _sampler(trainer).start_at(*place)
    if place.batch:
        restart_fetching(trainer)
    else:
        for loop in (fit_loop, fit_loop.epoch_loop, fit_loop.epoch_loop.val_loop):
            loop.on_iteration_done()  # nothing to restart: an epoch begins
