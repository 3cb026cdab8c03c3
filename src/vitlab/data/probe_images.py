"""A few validation images that a run looks at again and again: the same for the same data."""

from typing import Any, NamedTuple

from torch import Tensor

from vitlab.data.fair_order import class_balanced
from vitlab.data.image_data import ImageData
from vitlab.randomness import generator_at
from vitlab.shapes import Images, Targets


class ProbeImages(NamedTuple):
    """Images as evaluation sees them, their labels, and their places in the split's source."""

    images: Images
    labels: Targets
    indices: Tensor
    facts: dict[str, Any]


def choose_probe_images(data: ImageData, count: int, seed: int) -> ProbeImages:
    """Returns at most `count` validation images, or training images where none is held back for validation;
    they follow from the data, its split and `seed` alone."""
    split = data.splits["val"] if len(data.splits["val"]) else data.splits["train"]
    facts = {"data": data.fingerprint, "split": split.fingerprint(), "seed": seed}
    generator = generator_at(seed, "probe images", facts["data"], facts["split"])
    chosen = class_balanced(split.labels, len(split) if split.labels.ndim == 2 else count, generator)
    if split.labels.ndim == 2:  # those without any label come last: there is nothing to look for in them
        chosen = chosen[(split.labels[chosen].sum(dim=1) == 0).long().argsort(stable=True)][:count]
    batch = split[(0, chosen)]
    return ProbeImages(data.view(batch.images), batch.labels, split.indices[chosen], facts)
