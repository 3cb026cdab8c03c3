"""What a sweep's varied overrides stand for: all combinations of values, or the space of a search."""

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.override_parser.types import Sweep as SweptValue

if TYPE_CHECKING:
    from vitlab.sweeps.search import Choice, Interval


def values_of(override: Override) -> Iterator[str]:
    """Yields what a varied override stands for, each as on a command line; of an interval its ends."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        yield from (str(value.start), str(value.end))
    else:
        yield from override.sweep_string_iterator()


def every_combination(varied: Mapping[str, Override]) -> list[dict[str, str]]:
    for key, override in varied.items():
        if not override.is_discrete_sweep():
            raise ValueError(
                f"{override.input_line} has no end of values; a search draws from it: sweep=random or"
                f" sweep=tpe, or list some for {key}"
            )
    values = [list(values_of(each)) for each in varied.values()]
    return [dict(zip(varied, each, strict=True)) for each in itertools.product(*values)]


def space_of(settings: Mapping[str, Any], varied: Mapping[str, Override]) -> "dict[str, Choice | Interval]":
    """Returns what a search draws from. Raises ValueError for what is no space, and without Optuna."""
    try:
        from vitlab.sweeps.search import part_of_optuna
    except ModuleNotFoundError as error:
        raise ValueError(
            f'sweep.sampler needs {error.name}; pip install "vitlab[optuna]" brings it'
        ) from None
    for key in ("sampler", "pruner"):
        if settings[key] is not None:
            part_of_optuna(settings[key], key)
    if not varied:
        raise ValueError(
            "a search has nothing to draw from; say what varies, such as 'optimizer.lr=interval(1e-4, 1e-2)'"
        )
    return {key: _dimension(key, override) for key, override in varied.items()}


def _dimension(key: str, override: Override) -> "Choice | Interval":
    from vitlab.sweeps.search import Choice, Interval

    if key == "seed":
        raise ValueError(
            f"{override.input_line}: a search would choose the luckiest seed; search with one, then train the"
            " best with several"
        )
    value = override.value()
    assert isinstance(value, SweptValue)
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        log = "log" in value.tags
        if not value.start < value.end or (log and value.start <= 0):
            raise ValueError(
                f"{override.input_line} is no interval; from a lower to a higher"
                f" number{', above 0,' if log else ''} would work"
            )
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return Interval(value.start, value.end, log=log, whole=whole)
    if isinstance(value, RangeSweep) and value.start is not None and value.step > 0:
        numbers = [float(number) for number in values_of(override)]
        if len(numbers) > 1:
            whole = isinstance(value.start, int) and isinstance(value.step, int)
            return Interval(numbers[0], numbers[-1], whole=whole, step=float(value.step))
    return Choice(tuple(values_of(override)))
