"""What was found in data, in sentences: what may spoil a training or its numbers, the worst first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FEW = 10
"""A class with fewer training images is hardly learned, and one with fewer test images hardly measured."""

IMBALANCE = 10.0
"""From this ratio of the largest class to the smallest on, accuracy says little about the small ones."""

SAID = 5
"""Names in a sentence; check.json has all."""

SAID_BETTER = ("one of the labels is wrong", "images skipped: ", "(the same file twice)")
"""Notes of a source with these words are left out: opening every picture says more on the same."""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SAID]) + (f" and {len(names) - SAID:,} more" if len(names) > SAID else "")


def findings(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence on each thing that may spoil a training or its numbers, the worst first."""
    names, copies = facts["classes"], facts["copies"]
    if unreadable := facts["unreadable"]:
        told = _some([f"{file} ({why})" for file, why in unreadable])
        yield f"{len(unreadable):,} picture(s) cannot be used: {told}; data.on_bad_image=skip leaves them out"
    if across := copies["across_splits"]:
        yield (
            f"{len(across):,} picture(s) lie in two splits, such as {' and '.join(across[0])}: what is"
            " tested has been seen in training"
        )
    if labels := copies["under_two_labels"]:
        yield (
            f"{len(labels):,} picture(s) lie under two classes, such as {' and '.join(labels[0][:2])}: one of"
            " the labels is wrong"
        )
    if copies["images"] and not across:
        yield (
            f"{copies['images']:,} picture(s) are copies of another one, such as"
            f" {' and '.join(copies['all'][0][:2])}; all copies lie in one split"
        )
    for split, numbers in facts["counts"].items():
        enough = 1 if split == "val" else FEW  # which chooses between checkpoints and need not be exact
        least = [
            f"{name} ({number:,})"
            for name, number in zip(names, numbers, strict=True)
            if sum(numbers) and number < enough
        ]
        if least:
            yield f"{len(least):,} class(es) with fewer than {enough} {split} image(s): {_some(least)}"
    for split, number in facts["groups"].items():
        if number == 1 and sum(facts["counts"][split]):
            yield f"{split} has the images of one group alone: its numbers tell of no other"
    (large, most), (small, fewest) = facts["imbalance"]["largest"], facts["imbalance"]["smallest"]
    if facts["imbalance"]["ratio"] >= IMBALANCE:
        yield (
            f"the largest class, {large}, has {most:,} images, {facts['imbalance']['ratio']:g} times as many"
            f" as the smallest, {small}, with {fewest:,}: accuracy says little about the small ones"
        )
    if below := facts["sizes"].get("below_stored"):
        _, height, width = facts["sizes"]["stored"]
        yield f"{below:,} picture(s) are smaller than {width} x {height} px and will be enlarged"
    yield from (note for note in facts["notes"] if not any(words in note for words in SAID_BETTER))
