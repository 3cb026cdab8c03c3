"""Which jobs of a sweep tell whether all of them could begin."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

MOST_CHECKED = 300
"""Jobs whose configs are looked at, at a twentieth of a second each: all of a grid that has no more but for
seeds; of a larger one each value once, and jobs from all over it."""

ALONE = {"seed", "data.split_seed"}
"""Keys whose values are right or wrong whatever the others are."""

MOST_VALUES = 25
"""Of more values of a key only those are looked at that tell."""

MOST_COMPOSED = 16
"""Combinations of options (model=vit_tiny augment=light) of a large grid: each costs a quarter second."""


class Checked(NamedTuple):
    """A job to look at: its number (None: one that a search could propose), and its values by varied key."""

    number: int | None
    values: Mapping[str, str]


def _is_whole(text: str) -> bool:
    return text.lstrip("+-").isdigit()


def values_that_tell(values: Sequence[str]) -> list[str]:
    """Returns the values that say whether all are right: of many numbers the ends, which a range holds."""
    values = list(dict.fromkeys(values))
    if len(values) <= MOST_VALUES:
        return values
    kept = set()
    numbers: dict[bool, list[str]] = {True: [], False: []}
    for value in values:
        try:
            float(value)
        except ValueError:
            kept.add(value)
        else:
            numbers[_is_whole(value)].append(value)
    for kind in filter(None, numbers.values()):
        kept |= {values[0], min(kind, key=float), max(kind, key=float)}
    return [value for value in values if value in kept]


def one_by_one(values: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Yields each telling value of a key beside the first ones of the others."""
    first = {key: each[0] for key, each in values.items()}
    for key, each in values.items():
        yield from (first | {key: value} for value in values_that_tell(each))


def jobs_that_tell(
    values: Mapping[str, Sequence[str]],
    grid: Sequence[Mapping[str, str]],
    options: Callable[..., tuple[str, ...]],
) -> list[Checked]:
    """Returns the jobs of a grid to look at."""
    if len(grid) <= MOST_CHECKED:
        return [Checked(number, job) for number, job in enumerate(grid)]
    numbers = {tuple(job.items()): number for number, job in reversed([*enumerate(grid)])}
    picked = dict.fromkeys(numbers[tuple(job.items())] for job in one_by_one(values))
    known = {options(grid[number]) for number in picked}
    most = len(known) + MOST_COMPOSED
    apart = _apart_from_seeds(values, grid)
    are_all = len(apart) <= MOST_CHECKED
    for number in apart if are_all else [index * len(grid) // MOST_CHECKED for index in range(MOST_CHECKED)]:
        if are_all or (len(picked) < MOST_CHECKED and (options(grid[number]) in known or len(known) < most)):
            picked[number] = None
            known.add(options(grid[number]))
    return [Checked(number, grid[number]) for number in sorted(picked)]


def _apart_from_seeds(values: Mapping[str, Sequence[str]], grid: Sequence[Mapping[str, str]]) -> list[int]:
    """Returns the numbers of the jobs that have the first of the seeds."""
    first = {key: each[0] for key, each in values.items() if key in ALONE}
    return [number for number, job in enumerate(grid) if first.items() <= job.items()]


def told_of_sample(
    values: Mapping[str, Sequence[str]], grid: Sequence[Mapping[str, str]], checked: Sequence[Checked]
) -> list[str]:
    """Returns a line where combinations of a grid were left out that may fail though each value is right."""
    if {job.number for job in checked}.issuperset(_apart_from_seeds(values, grid)):
        return []
    return [
        f"{len(checked)} of {len(grid)} jobs were checked: every key's values (of many numbers the ends), and"
        " combinations from all over the grid"
    ]
