"""All images of a source as one test, whatever parts it has, for a model that may know other classes."""

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vitlab.data.fingerprint import combine_hashes
from vitlab.data.samples import Samples
from vitlab.data.source import Source
from vitlab.data.sources.layout import listed
from vitlab.data.targets import counts_of
from vitlab.shapes import Pixels, Targets

log = logging.getLogger(__name__)


class Joined(Samples):
    """Some images of several parts, one part after the other."""

    def __init__(self, parts: Sequence[Samples], chosen: Sequence[Tensor], labels: Targets):
        files = [
            part.files[of_part] for part, of_part in zip(parts, chosen, strict=True) if part.files is not None
        ]
        super().__init__(labels, parts[0].size, torch.cat(files) if len(files) == len(parts) else None)
        self.parts = list(parts)
        self.part = torch.cat([torch.full_like(of_part, number) for number, of_part in enumerate(chosen)])
        self.place = torch.cat(list(chosen))

    def fetch(self, indices: Tensor) -> Pixels:
        pixels = torch.empty((len(indices), *self.size), dtype=torch.uint8)
        for number, part in enumerate(self.parts):
            here = self.part[indices] == number
            if here.any():
                pixels[here] = part.fetch(self.place[indices[here]])
        return pixels

    def name_of(self, index: int) -> str:
        return self.parts[int(self.part[index])].name_of(int(self.place[index]))


class Whole(Source):
    """Source of all images that another one has, as its part "test", in the classes that a model knows.

    `trained_on` are the files that the model's run trained on. Raises ValueError for images of other classes,
    unless `skip_unknown` leaves them out; of other labels or numbers it leaves these out, and not the images.
    """

    trained_on: Tensor | None = None
    _hash = ""

    def __init__(self, source: Source, class_names: list[str], skip_unknown: bool = False):
        source.whole = True
        self.source = source
        self.names = tuple(class_names)
        self.skip_unknown = skip_unknown
        self.targets = source.targets
        self.interpolation = source.interpolation
        self.stored_size = source.stored_size

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.names

    def is_here(self) -> bool:
        return self.source.is_here()

    def prepare(self) -> None:
        self.source.white = self.white
        self.source.prepare()

    def load(self) -> dict[str, Samples]:
        """Returns the part "test", and logs what is left out, is missing, or was trained on."""
        self.source.white = self.white
        loaded, here = self.source.load(), self.source.class_names
        self._hash, parts = self.source.fingerprint(loaded), list(loaded.values())
        known = torch.tensor([self.names.index(name) if name in self.names else -1 for name in here])
        self._check_unknown(parts, here)
        if self.targets == "class":
            labels: list[Tensor] = [known[part.labels] for part in parts]
            chosen = [(of_part >= 0).nonzero().flatten() for of_part in labels]
            joined = Joined(parts, chosen, torch.cat([each[each >= 0] for each in labels]))
        else:
            chosen, targets = [torch.arange(len(part)) for part in parts], [part.labels for part in parts]
            joined = Joined(parts, chosen, self._by_known_names(torch.cat(targets), known))
        there = counts_of(joined.labels, len(self.names)).tolist()
        if absent := [name for name, count in zip(self.names, there, strict=True) if not count]:
            log.warning("data.split=all: no image of %s; not tested", listed(absent))
        files, seen = joined.files, 0
        if self.trained_on is not None and files is not None:
            seen = int(torch.isin(files, self.trained_on).sum())
        if seen:
            which = f"{seen:,} of these {len(joined):,} images"
            log.warning("data.split=all: the run trained on %s: the numbers will be too good", which)
        return {"test": joined}

    def _by_known_names(self, targets: Tensor, known: Tensor) -> Tensor:
        """Returns labels or numbers in the model's order: 0 for a label that none of these images has."""
        ordered = targets.new_zeros(len(targets), len(self.names))
        ordered[:, known[known >= 0]] = targets[:, known >= 0]
        return ordered

    def _check_unknown(self, parts: Sequence[Samples], here: Sequence[str]) -> None:
        counts = torch.stack([counts_of(part.labels, len(here)) for part in parts]).sum(dim=0).tolist()
        of = {name: count for name, count in zip(here, counts, strict=True) if count}
        unknown = {name: count for name, count in of.items() if name not in self.names}
        if not unknown:
            return
        line = f"data.split=all: {listed(unknown)}, which the model does not know"
        if self.targets != "numbers":
            line = f"data.split=all: {sum(unknown.values()):,} image(s) of {line.partition(': ')[2]}"
        if len(unknown) == len(of):
            raise ValueError(f"{line}; it knows {listed(self.names)}")
        if not self.skip_unknown:
            what = "them" if self.targets == "class" else f"such {self.targets}"
            raise ValueError(f"{line}; data.unknown_classes=skip would leave {what} out")
        log.warning("%s: left out", line)

    def fingerprint(self, parts: Mapping[str, Samples]) -> str:
        return combine_hashes(self.names, {"test": self._hash})
