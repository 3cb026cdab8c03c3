"""Optimizers and schedules of torch and timm, given our parameter groups and the run's number of steps."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vitlab.optim.groups import NamedParameters, parameter_groups, place

WHOLE_RUN = ("total_steps", "T_max", "total_iters")
"""Arguments of torch's schedules for their length in steps: the run's where a config has none."""

PEAKS = ("max_lr", "base_lr")
"""Rates that a schedule of torch's sets in the place of the groups' own."""


@contextmanager
def _named(key: str, kind: type) -> Iterator[None]:
    """Says whose complaint it is: raises ValueError for values that only the library understands."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        text = str(error)
        raise ValueError(
            text if text.startswith((f"{key}:", f"{key}.")) else f"{key}: {kind.__name__}: {text}"
        ) from error


def in_our_groups(
    kind: type[Optimizer], arguments: Mapping[str, Any]
) -> Callable[[NamedParameters], Optimizer]:
    """Returns a function that makes another library's optimizer over parameters in our groups.

    `layer_decay` and `frozen` are ours; every other argument is the library's. `weight_decay`, by default the
    library's own, leaves out biases, norms and tables of embeddings. Raises ValueError without a rate: the
    layers have shares of it.
    """
    own = dict(arguments)
    layer_decay, frozen = own.pop("layer_decay", 1.0), own.pop("frozen", [])
    lr, known = own.get("lr"), inspect.signature(kind).parameters
    if not isinstance(lr, int | float) or isinstance(lr, bool) or not lr > 0:
        raise ValueError(f"optimizer.lr={lr}: {kind.__name__} takes a rate above 0 here; for example lr=1e-3")
    default = known["weight_decay"].default if "weight_decay" in known else 0.0
    weight_decay = own.pop("weight_decay", default)

    def make(named_parameters: NamedParameters) -> Optimizer:
        groups = parameter_groups(place(named_parameters, layer_decay, frozen), lr, weight_decay)
        with _named("optimizer", kind):
            return kind(groups, **own)

    return make


def told_the_steps(kind: type[LRScheduler], arguments: Mapping[str, Any]) -> Callable[..., LRScheduler]:
    """Returns what makes a torch schedule that steps with the optimizer and lasts for the run."""
    known = inspect.signature(kind).parameters

    def make(optimizer: Optimizer, total_steps: int, steps_per_epoch: int) -> LRScheduler:
        if any(group.get("frozen") for group in optimizer.param_groups):
            raise ValueError(
                f"optimizer.frozen: {kind.__name__} holds nothing still; schedule=cosine, linear and"
                " constant do"
            )
        own = dict(arguments)
        if "epochs" not in own:
            own |= {name: total_steps for name in WHOLE_RUN if name in known and name not in own}
        for name in PEAKS:
            if isinstance(own.get(name), int | float):
                own[name] = [own[name] * group.get("lr_scale", 1.0) for group in optimizer.param_groups]
        with _named("schedule", kind):
            return kind(optimizer, **own)

    return make
