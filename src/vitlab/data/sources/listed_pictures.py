"""The pictures of one part of a source, with all that is known of them before one is opened."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vitlab.data.files.places import Places
from vitlab.data.files.store import Stored


class Listed(NamedTuple):
    """Where a part's pictures lie, their class indices, and where known their groups and weights."""

    places: Places
    labels: list[int]
    groups: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    """Labels or numbers of each picture, in the place of its class, which then is 0 for all."""

    def told_to(self, stored: Stored) -> None:
        """Gives a store's images, some may be skipped, these pictures' paths, labels, groups and weights."""
        kept = np.delete(np.arange(len(self.places)), [index for index, _ in stored.skipped])
        images, of_images = stored.data, torch.from_numpy(kept)
        images.paths = self.places.take(kept)
        if self.targets is not None:
            images.labels = self.targets[of_images]
        if self.groups is not None:
            images.groups = self.groups[of_images]
        if self.weights is not None:
            images.weights = self.weights[of_images]


def once_each(listed: Listed, num_labels: int, cache_dir: Path) -> Listed:
    """Returns each picture once, told by its bytes, with the labels of all folders that it lies in."""
    digests = listed.places.digests(cache_dir)
    first: dict[bytes, int] = {}
    keys = [digest or f"unreadable {place}".encode() for place, digest in enumerate(digests)]
    owner = [first.setdefault(key, place) for place, key in enumerate(keys)]
    targets = torch.zeros(len(owner), num_labels, dtype=torch.int8)
    targets[owner, listed.labels] = 1
    kept = np.array(sorted(first.values()), np.int64)
    return Listed(listed.places.take(kept), [0] * len(kept), targets=targets[torch.from_numpy(kept)])
