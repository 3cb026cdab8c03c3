"""How alike maps are to an untrained model's, other images' and classes': then they are templates."""

import torch
from torch import Tensor, nn

from vitlab.insight.attention.maps import logits_in_chunks
from vitlab.insight.attention.modes import looked_at
from vitlab.insight.explain import CLASS_SPECIFIC, explain
from vitlab.insight.views.anatomy import View
from vitlab.insight.views.view_of import view_of
from vitlab.shapes import Heatmap, Images


def _ranks(heatmaps: Heatmap) -> Tensor:
    """Returns twice the rank of each patch in its map; equal shares have the mean of their ranks."""
    shares = heatmaps.flatten(1).cpu().contiguous()
    ordered = shares.sort(dim=1).values
    return (torch.searchsorted(ordered, shares) + torch.searchsorted(ordered, shares, right=True)).double()


def similarity(one: Heatmap, other: Heatmap) -> Tensor:
    """Returns Spearman's rank correlation of two maps for each image, -1 to 1, and 0 where one of them is
    uniform. A correlation near 1 between the maps of an untrained and a trained model says that the map shows
    nothing that was learnt (Adebayo et al. 2018, arXiv:1810.03292)."""
    # torchmetrics has this too, but takes seconds to import, and transformers with it
    ours, theirs = (ranks - ranks.mean(dim=1, keepdim=True) for ranks in (_ranks(one), _ranks(other)))
    lengths = ours.norm(dim=1) * theirs.norm(dim=1)
    return torch.where(lengths > 0, (ours * theirs).sum(dim=1) / lengths, torch.zeros_like(lengths)).float()


def image_specificity(heatmaps: Heatmap) -> float:
    """Returns 1 minus the correlation of a map with the mean of the other images' maps, mean over images: 0
    means one template for all. Raises ValueError for a single image."""
    if len(heatmaps) < 2:
        raise ValueError("image specificity compares images: it needs at least 2 maps, and got 1")
    maps = heatmaps.flatten(1).double().cpu()
    others = (maps.sum(dim=0) - maps) / (len(maps) - 1)
    maps, others = (values - values.mean(dim=1, keepdim=True) for values in (maps, others))
    lengths = torch.stack([maps.norm(dim=1), others.norm(dim=1)])
    correlation = (maps * others).sum(dim=1) / lengths.prod(dim=0)
    flat = lengths < 1e-9  # a uniform map: it has no direction, but two of them are alike
    return 1 - torch.where(flat.any(dim=0), flat.all(dim=0).double(), correlation).mean().item()


def class_sensitivity(model: nn.Module | View, images: Images, method: str) -> float:
    """Returns the rank correlation of the maps for the two most probable classes, mean over images: 1 means
    that the map does not depend on the class, as outside `CLASS_SPECIFIC` and for a single class."""
    if method not in CLASS_SPECIFIC:
        return 1.0
    view = view_of(model)
    with looked_at(view.model), torch.no_grad():
        logits = logits_in_chunks(view, images)
        if logits.shape[1] < 2:
            return 1.0
        first, second = logits.topk(2, dim=1).indices.unbind(dim=1)
    return similarity(*(explain(view, images, method, target) for target in (first, second))).mean().item()
