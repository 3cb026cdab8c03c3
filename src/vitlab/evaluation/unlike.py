"""How unlike the training data a picture is: by the energy of its scores, or by its features."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vitlab.data.features import compute_features, model_fingerprint, open_features
from vitlab.data.image_data import ImageData
from vitlab.evaluation.bootstrap import Interval, interval, values_of_drawings
from vitlab.objectives.weighted import Curve

Kind = Literal["energy", "distance"]

NEIGHBOURS = 10
"""The distance is that to the tenth nearest training image; Sun et al. 2022 take 50 of a million."""

MOST_IMAGES = 5000
"""Training images whose features are held; of more, evenly spaced ones."""


class Neighbours:
    """Known features; the distance of others to them is 1 - the cosine to the `NEIGHBOURS`-th nearest: "Out-
    of-Distribution Detection with Deep Nearest Neighbors" (Sun et al. 2022, arXiv:2204.06507)."""

    def __init__(self, features: Tensor):
        self.known = nn.functional.normalize(features.float(), dim=1)
        self.rank = min(NEIGHBOURS, len(features))

    def distance(self, features: Tensor) -> Tensor:
        """Returns a distance, from 0 to 2, for each row of features."""
        return torch.cat([self._of_some(rows) for rows in features.float().split(1000)])

    def _of_some(self, features: Tensor) -> Tensor:
        likeness = nn.functional.normalize(features, dim=1) @ self.known.T
        return 1 - likeness.topk(self.rank, dim=1).values[:, -1]


def has_features(model: nn.Module) -> bool:
    """Tells whether a model has pooled features."""
    return hasattr(model, "forward_features") and hasattr(model, "forward_head")


def pooled(model: Any, images: Tensor) -> Tensor:
    """Returns a model's features [batch, features] before its head."""
    return model.forward_head(model.forward_features(images), pre_logits=True).float().cpu()


def features_of_split(model: nn.Module, data: ImageData, name: str, root: Path, device: Any) -> Tensor:
    """Returns features of at most `MOST_IMAGES` images of a split, computed once and kept under `root`."""
    split = data.splits[name]
    count = min(len(split), MOST_IMAGES)
    chosen = torch.linspace(0, len(split) - 1, count).long()
    facts: Mapping[str, Any] = {
        "model": model_fingerprint(model),
        "data": data.facts()["fingerprint"],
        "split": [name, split.fingerprint()],
        "preprocessing": data.preprocessing().as_plain(),
        "unlike": count,
    }

    def compute() -> Tensor:
        def fetch(positions: Tensor) -> Tensor:
            return data.view(split[(0, chosen[positions])].images.to(device))

        return compute_features(model.to(device), fetch, count, data.batch_size, nullcontext, name)

    return open_features(root / "features", count, facts, compute)


def told_apart(known: Tensor, others: Tensor, level: float, seed: int) -> tuple[float, Interval | None]:
    """Returns how well scores tell others from known pictures, as AUROC with interval: 0.5 is a guess."""
    scores = torch.cat([known, others])
    curve = Curve(scores, torch.arange(len(scores)) >= len(known))
    found: dict[str, Callable[[Tensor], Tensor]] = {"auroc": curve.auroc}
    drawn = values_of_drawings(found, len(scores), seed, {})["auroc"]
    return float(curve.auroc(torch.ones(len(scores), 1))), interval(drawn, level)


def share_below(score: float, known: Tensor) -> float:
    """Returns which share of known images, in ascending order, is less unlike than a picture."""
    return int(torch.searchsorted(known, torch.tensor(score, dtype=known.dtype))) / max(1, len(known))
