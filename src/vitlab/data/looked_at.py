"""The split that a trained model is looked at with: what its run held back of a folder as it is now."""

import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vitlab.data.fingerprint import hashed_what
from vitlab.data.known_split import SPLITS, KnownSplit
from vitlab.data.samples import Samples
from vitlab.data.splits import Split
from vitlab.data.targets import codes_of

log = logging.getLogger(__name__)


def _as_often(files: Tensor, known: Tensor) -> Tensor:
    """Returns which of the files are among the known ones: of copies as many as are known, the first ones."""
    order = files.argsort(stable=True)
    ordered, known = files[order], known.sort().values
    number_of_copy = torch.arange(len(files)) - torch.searchsorted(ordered, ordered)
    copies = torch.searchsorted(known, ordered, right=True) - torch.searchsorted(known, ordered)
    among = torch.empty(len(files), dtype=torch.bool)
    among[order] = number_of_copy < copies
    return among


def _relabelled(samples: Samples, chosen: Tensor, known: KnownSplit) -> int:
    """Returns how many of the chosen images lay under another class in the run."""
    assert samples.files is not None
    files, labels = (torch.cat(list(each.values())) for each in (known.files, known.labels))
    order = files.argsort(stable=True)
    place = torch.searchsorted(files[order], samples.files[chosen]).clamp(max=len(files) - 1)
    is_known = files[order][place] == samples.files[chosen]
    return int((is_known & (labels[order][place] != codes_of(samples.labels[chosen]))).sum())


def find_again(name: str, parts: Mapping[str, Samples], known: KnownSplit, now: str | None = None) -> Split:
    """Returns the split `name` as the run had it, from data that has changed since, and logs what is new,
    missing or left out.

    These are the images that the run had there. Where the data has its own part of that name, or no image
    that the run had there, these are all images except those of the run's other splits. Raises ValueError
    where no image is left, or nothing tells which ones the run trained on.
    """
    own = name in parts
    samples = parts[name] if own else parts.get("all") or parts["train"]
    comparable = hashed_what(known.fingerprint) == hashed_what(now or known.fingerprint)
    if samples.files is None or not known.files or not comparable:
        if not own:
            raise ValueError(
                "the images are not the run's, and which of them it trained on cannot be told; the run's own"
                " would work"
            )
        all_now = f"all {len(samples.labels):,} images as they are now"
        log.warning("the data is not what the run saw; %s: %s", name, all_now)
        return Split(samples, torch.arange(len(samples.labels)))
    held = _as_often(samples.files, known.files[name])
    of_others = torch.cat([files for split, files in known.files.items() if split != name])
    elsewhere = torch.isin(samples.files, of_others) & ~held
    new, missing = int((~held & ~elsewhere).sum()), len(known.files[name]) - int(held.sum())
    again = bool(held.any()) and not own
    chosen = (held if again else ~elsewhere).nonzero().flatten()
    others, used = " and ".join(split for split in SPLITS if split != name), int(elsewhere.sum())
    if not len(chosen):
        raise ValueError(
            f"no image is left as {name}: here are only {used:,} that the run had in {others}; other images"
            " would work"
        )
    told = {f"missing: {missing:,}": (again or own) and missing}
    if again:
        first = f"the {len(chosen):,} images that the run {'trained on' if name == 'train' else 'held back'}"
        told |= {f"new and left out: {new:,}": new}
    else:
        whose = " of the data's own part" if own else ", none of them the run's"
        first = f"all {len(chosen):,} images{whose}"
        told |= {
            f"new since then: {new:,}": own and new,
            f"left out, as the run had them in {others}: {used:,}": used,
        }
    if moved := _relabelled(samples, chosen, known):
        told |= {f"under another class than in the run: {moved:,}": True}
    lines = "; ".join([first, *(line for line, holds in told.items() if holds)])
    log.warning("the data, or how it is split, is not what the run saw; %s: %s", name, lines)
    return Split(samples, chosen)


def splits_to_look_at(
    name: str,
    parts: Mapping[str, Samples],
    known: KnownSplit,
    now: str,
    cut: Callable[[], dict[str, Split]],
) -> dict[str, Split]:
    """Returns what `cut` makes of the data where its split `name` has the images that the run had there; else
    that split alone, by `find_again`.

    `now` is the data's hash. Other data differs from the run's, and another vitlab may cut the same data
    otherwise. Raises ValueError where the run held back no image of that name.
    """
    if known.fingerprint != now:
        return {name: find_again(name, parts, known, now)}
    splits = cut()
    split = splits[name]
    files = split.samples.files
    if files is not None and known.files and not torch.equal(files[split.indices], known.files[name]):
        return {name: find_again(name, parts, known, now)}
    if not len(split):
        raise ValueError(
            f"the run held back no {name} images (data.{name}_fraction=0); another folder,"
            " data.root=OTHER, would work"
        )
    return splits
