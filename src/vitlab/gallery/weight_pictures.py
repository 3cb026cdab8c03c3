"""What weights and features look like: input filters, similarity of positions, features as colours."""

from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitlab.models.vit import VisionTransformer
from vitlab.pictures.drawing import Picture, colours, spread

MAX_FILTERS = 28
"""As many principal components as the ViT paper's Figure 7 shows."""

MAX_POSITIONS = 16
"""A grid with more rows or columns of positions is shown at every second, third, ... one."""

Vectors = Float[Tensor, "vectors channels"]
Scores = Float[Tensor, "vectors components"]


class Components(NamedTuple):
    """The directions of largest variance, unit vectors, and each vector's place along them."""

    directions: Float[Tensor, "components channels"]
    scores: Scores


def principal_components(vectors: Vectors, count: int) -> Components:
    """Returns at most `count` principal components by variance, each one's largest entry positive."""
    centred = (vectors - vectors.mean(dim=0)).double().cpu()
    count = min(count, *centred.shape)
    if centred.shape[0] < centred.shape[1]:  # whichever matrix of products is smaller
        _, left = torch.linalg.eigh(centred @ centred.T)
        directions = left.flip(1)[:, :count].T @ centred
        directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(
            torch.finfo(torch.float64).tiny
        )
    else:
        directions = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :count].T
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    directions = directions * torch.where(largest < 0, -1.0, 1.0)
    return Components(directions.float(), (centred @ directions.T).float())


def aligned(scores: Scores, earlier: Scores) -> Scores:
    """Returns the components in the order and with the signs that follow `earlier` ones best: signs mean
    nothing, and where variances cross the order changes, so colours would flicker between frames."""
    ours, theirs = (nn.functional.normalize(part - part.mean(dim=0), dim=0) for part in (scores, earlier))
    likeness = theirs.T @ ours
    left = likeness.abs().clone()
    result = scores.clone()
    for _ in range(scores.shape[1]):
        place, chosen = divmod(int(left.argmax()), left.shape[1])
        result[:, place] = scores[:, chosen] * (-1.0 if likeness[place, chosen] < 0 else 1.0)
        left[place], left[:, chosen] = -1.0, -1.0
    return result


def feature_colours(scores: Float[Tensor, "vectors 3"]) -> Float[Tensor, "vectors 3"]:
    """Returns three components as colours from 0 to 1: 2.5 standard deviations reach the ends."""
    return (0.5 + scores / (5.0 * scores.std(dim=0, correction=0).clamp_min(1e-12))).clamp(0.0, 1.0)


def _levels(shares: Tensor) -> Picture:
    return (shares * 255).round().byte().numpy()


def feature_picture(shares: Float[Tensor, "rows columns 3"], size: tuple[int, int]) -> Picture:
    """Returns colours of patches over `size` (height, width)."""
    return spread(_levels(shares), size)


def input_filters(model: VisionTransformer) -> tuple[Float[Tensor, "filters channels height width"], bool]:
    """Returns the filters that see the pixels, and whether they are principal components of all of them. A
    linear patch embedding has so many that their principal components are shown (Dosovitskiy et al. 2021,
    Figure 7); of a stem, the first convolution's own filters."""
    first = next(module for module in model.patch_embed.modules() if isinstance(module, nn.Conv2d))
    weight = first.weight.detach().float().cpu()
    if first.kernel_size != first.stride:
        return weight[: 2 * MAX_FILTERS], False
    found = principal_components(weight.flatten(1), MAX_FILTERS)
    return found.directions.unflatten(1, weight.shape[1:]), True


def filter_picture(weight: Float[Tensor, "channels height width"]) -> Picture:
    """Returns a filter with grey for zero and its largest weight, of either sign, at an end of the range; of
    more than three channels the first three, of two the first."""
    weight = weight[:3] if len(weight) >= 3 else weight[:1]
    shares = 0.5 + weight / (2 * weight.abs().max().clamp_min(1e-12))
    return _levels(shares.permute(1, 2, 0).expand(-1, -1, 3))


def position_similarity(model: VisionTransformer) -> Float[Tensor, "rows columns rows columns"] | None:
    """Returns each position's cosine similarity to all others; None for a model without positions."""
    if model.pos_embed is None:
        return None
    table = cast(Tensor, model.pos_embed).detach().float().cpu()[0, -model.grid[0] * model.grid[1] :]
    units = nn.functional.normalize(table, dim=1)
    return (units @ units.T).unflatten(1, model.grid).unflatten(0, model.grid)


def similarity_picture(similarity: Float[Tensor, "rows columns rows columns"], side: int = 640) -> Picture:
    """Returns a map for each position, laid out as these are, about `side` pixels long."""
    step = -(-max(similarity.shape[:2]) // MAX_POSITIONS)
    shown = similarity[::step, ::step]
    rows, columns, height, width = shown.shape
    factor = max(1, side // max(rows * height, columns * width))
    maps = [
        [
            spread(colours(shown[i, j], 1.0, -1.0, "viridis"), (factor * height, factor * width))
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    gap = 2
    canvas = torch.full(
        (rows * (factor * height + gap) - gap, columns * (factor * width + gap) - gap, 3),
        255,
        dtype=torch.uint8,
    ).numpy()
    for i, line in enumerate(maps):
        for j, picture in enumerate(line):
            top, left = i * (factor * height + gap), j * (factor * width + gap)
            canvas[top : top + factor * height, left : left + factor * width] = picture
    return canvas
