"""Each image of a batch blended with its neighbour (MixUp), or patched with a box of it (CutMix)."""

import torch
from jaxtyping import Float
from torch import Tensor

from vitlab.data.augment.boxes import Boxes
from vitlab.shapes import Images, SoftLabels, Targets

Share = Float[Tensor, " batch"]
"""What an image keeps of itself, from 0 to 1."""


def cutmix_boxes(share: Share, centre: Float[Tensor, "batch 2"], size: tuple[int, int]) -> Boxes:
    """Returns boxes that leave `share` of an image, before they are clipped at its border (Yun et al. 2019,
    arXiv:1905.04899). `centre` is uniform from 0 to 1, as (vertical, horizontal)."""
    extent = torch.tensor([size[0], size[1]], dtype=torch.float32)
    middle, half = centre * extent, (1 - share).sqrt()[:, None] * extent / 2
    return torch.cat([(middle - half).clamp_(min=0), torch.minimum(middle + half, extent)], dim=1)


def mix(
    images: Images,
    labels: Targets,
    kept: Float[Tensor, "batch 1 #height #width"],
    num_classes: int,
    weights: Float[Tensor, " batch"] | None = None,
) -> tuple[Images, SoftLabels]:
    """Returns images that keep the share `kept` of each pixel and take the rest from the sample before, and
    labels in the same proportion.

    The neighbour is as good as any other sample, because the order of samples is random. With `weights` each
    share is multiplied by the weight of its sample; `unweighted` takes the two apart. Where images have
    several labels, each label is mixed by itself: a label that both images have stays 1. Weights are not
    taken there.
    """
    share = kept.mean(dim=(1, 2, 3))[:, None]
    own, other = share, 1 - share
    mixed = images.roll(1, 0).lerp_(images, kept)
    if labels.ndim == 2:
        assert weights is None, "an objective of several labels weighs no samples"
        return mixed, labels.float() * own + labels.float().roll(1, 0) * other
    if weights is not None:
        own, other = own * weights[:, None], other * weights.roll(1)[:, None]
    soft = torch.zeros(len(labels), num_classes, device=images.device).scatter_(1, labels[:, None], own)
    return mixed, soft.scatter_add_(1, labels.roll(1)[:, None], other)


def unweighted(labels: SoftLabels) -> tuple[SoftLabels, Float[Tensor, " batch"]]:
    """Takes apart what `mix` multiplied: returns each image's shares, which sum to 1, and its weight. Labels
    (0.5, 1.5) are shares (0.25, 0.75) at weight 2. The weight is what both samples of a mixed image weigh
    together by their shares, so a sample of weight 0 teaches nothing."""
    weights = labels.sum(dim=1)
    return torch.where(weights[:, None] > 0, labels / weights[:, None], 1 / labels.shape[1]), weights
