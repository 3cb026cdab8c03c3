"""A few validation images that a run looks at again and again: the same ones for the same data, whatever else is random."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from vitlab.data.augment.crop import centre_view, normalise
from vitlab.data.image_data import ImageData
from vitlab.randomness import generator_at
from vitlab.shapes import Images, Labels


class ProbeImages(NamedTuple):
    """Images as evaluation sees them, their labels, and their places among the images of the split's source."""

    images: Images
    labels: Labels
    indices: Tensor
    facts: dict[str, Any]


def class_balanced(labels: Labels, count: int, generator: torch.Generator) -> Tensor:
    """Returns the places of at most `count` labels, every class in turn: any beginning of them is balanced too, as far as classes go."""
    classes = labels.unique()
    shuffled = torch.randperm(len(labels), generator=generator)
    place_in_class = torch.empty_like(shuffled)
    place_of_class = torch.empty_like(shuffled)
    for turn, index in enumerate(torch.randperm(len(classes), generator=generator).tolist()):
        members = shuffled[labels[shuffled] == classes[index]]
        place_in_class[members] = torch.arange(len(members))
        place_of_class[members] = turn
    return (place_in_class * len(classes) + place_of_class).argsort()[:count]


def choose_probe_images(data: ImageData, count: int, seed: int) -> ProbeImages:
    """Returns at most `count` validation images, which follow from the data, its split and `seed` alone."""
    split = data.splits["val"]
    facts = {"data": data.fingerprint, "split": split.fingerprint(), "seed": seed}
    chosen = class_balanced(split.labels, count, generator_at(seed, "probe images", facts["data"], facts["split"]))
    pixels = split.samples.images.index_select(0, split.indices[chosen])
    images = normalise(centre_view(pixels, data.eval_size), data.mean, data.std)
    return ProbeImages(images, split.labels[chosen], split.indices[chosen], facts)
