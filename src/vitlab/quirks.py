"""Private names of other libraries: all that vitlab uses of them, each with its version, why it is needed,
and what it buys.

`tests/test_quirks.py` fails when a library changes one; `tests/test_architecture.py` when another file uses
one.
"""

from datetime import timedelta
from typing import Any

CURRENT_HOOK = "_current_fx_name"
"""Lightning 2.6.6: the attribute that each hook sets, 45 times a step; so it saves 0.2 ms a step."""

COMPILED = "_orig_mod"
"""torch 2.10 to 2.15: where torch.compile(model) keeps the model, which is looked into."""

STATE_DICT_VERSIONS = "_metadata"
"""torch 2.10 to 2.15: an attribute of state dicts in pickles, which the plain reader lets through."""


def uncompiled(model: Any) -> Any:
    """Returns the model that torch.compile may have wrapped."""
    return getattr(model, COMPILED, model)


def steps_on_scaled_gradients(optimizer: Any) -> bool:
    """Tells whether an optimizer takes scaled gradients (torch 2.10 to 2.15), unscaled before clipping."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def leave_signals_to_the_run(trainer: Any) -> None:
    """Takes Lightning's signal handlers out of a trainer (2.6.6): ours save, and agree among processes
    (`training.stop_signals`).

    Its own save within the handler, in the middle of a step, or wait there for a broadcast that other
    processes know nothing of; and at every batch each process waits, also for the GPU, to hear from the first
    one whether it got SIGTERM.
    """
    vars(trainer._signal_connector)["register_signal_handlers"] = lambda: None
    vars(trainer.fit_loop.epoch_loop)["_broadcast_sigterm_tensor"] = lambda: None


def limit_waiting(trainer: Any, seconds: int) -> None:
    """Sets how long a process of a run waits for another one (Lightning 2.6.6): the strategy that Lightning
    has chosen by the devices takes it, as it would from its own constructor, when it first connects."""
    trainer.strategy._timeout = timedelta(seconds=seconds)


def waiting_limit(trainer: Any) -> timedelta | None:
    """Returns how long a process of a run waits for another one (Lightning 2.6.6); None: as torch has it."""
    return getattr(trainer.strategy, "_timeout", None)


def restart_fetching(trainer: Any) -> None:
    """Begins the iteration over the training batches anew (Lightning 2.6.6). When a run goes on, the iterator
    there began before the place in the epoch was known; without this it would start at batch 0."""
    iter(trainer.fit_loop._data_fetcher)


def loop_state(batches_that_stepped: int) -> dict[str, int]:
    """Returns the state of Lightning's epoch loop (2.6.6), restored on resume, which counts log steps."""
    return {"_batches_that_stepped": batches_that_stepped}


def trial_number_in_storage(trial: Any) -> int:
    """Returns the id of an Optuna trial (5.0) that a later process reads back: only the one that `ask`
    returned reports without it."""
    return trial._trial_id


def timm_tokens(vit: Any, patches: Any) -> Any:
    """Returns a timm ViT's tokens with positions (timm 1.0.20 to 1.0.29 have no public way to them)."""
    return vit._pos_embed(patches)
