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
    arXiv:1905.04899).

    `centre` is uniform from 0 to 1, as (vertical, horizontal).
    """
    extent = torch.tensor([size[0], size[1]], dtype=torch.float32)
    middle, half = centre * extent, (1 - share).sqrt()[:, None] * extent / 2
    return torch.cat([(middle - half).clamp_(min=0), torch.minimum(middle + half, extent)], dim=1)


def mix(
    images: Images, labels: Targets, kept: Float[Tensor, "batch 1 #height #width"], num_classes: int
) -> tuple[Images, SoftLabels]:
    """Returns images that keep the share `kept` of each pixel and take the rest from the sample before, and
    labels in the same proportion.

    The neighbour is as good as any other sample, because the order of samples is random. Of several labels an
    image each is mixed by itself: one that both have stays 1.
    """
    share = kept.mean(dim=(1, 2, 3))[:, None]
    if labels.ndim == 2:
        own = labels.float()
        return images.roll(1, 0).lerp_(images, kept), own * share + own.roll(1, 0) * (1 - share)
    soft = torch.zeros(len(labels), num_classes, device=images.device).scatter_(1, labels[:, None], share)
    return images.roll(1, 0).lerp_(images, kept), soft.scatter_add_(1, labels.roll(1)[:, None], 1 - share)
