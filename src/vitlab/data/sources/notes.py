"""What whoever chose a set of pictures may not know of it, a line each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch

from vitlab.data.copies import under_two_labels
from vitlab.data.files.find import as_text
from vitlab.data.files.places import Places
from vitlab.data.files.sixteen_bits import FULL, WHITES
from vitlab.data.files.store import Stored
from vitlab.data.sources.layout import alike, listed
from vitlab.data.targets import counts_of


def _name(opened: Iterable[Stored], place: int) -> str:
    """Returns what the picture at that place of all parts is called."""
    for stored in opened:
        if place < len(stored.data):
            assert isinstance(stored.data.paths, Places)
            return stored.data.paths.name(place)
        place -= len(stored.data)
    raise IndexError(place)


def notes_on_pictures(
    origin: str, opened: Mapping[str, Stored], white: int | None, value_range: tuple[float, float] | None
) -> Iterator[str]:
    """Yields a line on each thing about pictures that may look other than they were meant; `white` was taken
    for white in files of 16 bits, `value_range` is the config's, `origin` the data, in words."""
    deep, narrow, beyond, translucent = (
        sum(getattr(stored.facts, key) for stored in opened.values())
        for key in ("deep", "narrow", "beyond", "translucent")
    )
    if white == FULL and narrow > deep / 2:
        yield (
            f"{origin}: {narrow:,} of {deep:,} pictures of 16 bits end at {WHITES[-2]:,} or below and keep"
            " few levels; scale them to the whole range, or leave the brighter ones out"
        )
    if beyond:
        low, high = value_range or (0, 0)
        yield (
            f"{origin}: {beyond:,} picture(s) have values outside data.value_range=[{low:g},{high:g}], which"
            " were clipped to it"
        )
    if translucent:
        yield (
            f"{origin}: {translucent:,} picture(s) are translucent in most places and laid on white; were"
            " their last band no transparency, such as near infrared, it would have to be left out"
        )


def notes_on_classes(origin: str, opened: Mapping[str, Stored], names: Sequence[str]) -> Iterator[str]:
    """Yields a line on classes that may be a mistake: nearly one name, no images, one picture under two."""
    if groups := [" and ".join(map(repr, group)) for group in alike(names)]:
        yield (
            f"{origin}: {listed(groups)} differ in case, blanks or letter forms only; each is a class of its"
            " own here"
        )
    for part, stored in opened.items():
        there = counts_of(stored.data.labels, len(names)).tolist()
        if absent := [name for count, name in zip(there, names, strict=True) if not count]:
            yield (
                f"{origin}: {part} has no image of {listed(absent)}; not"
                f" {'tested' if part == 'test' else 'validated'} there"
            )
    files, labels = (
        torch.cat([getattr(stored.data, key) for stored in opened.values()]) for key in ("files", "labels")
    )
    if pairs := under_two_labels(files, labels):
        first, second = (as_text(_name(opened.values(), place)) for place in pairs[0])
        yield (
            f"{origin}: {len(pairs):,} file(s) lie under two classes, such as {first} and {second}: one of"
            " the labels is wrong"
        )
