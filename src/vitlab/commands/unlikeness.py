"""How unlike the training data each photograph of a prediction is."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from vitlab.data.files.store import cache_root
from vitlab.evaluation.unlike import (
    Neighbours,
    features_of_split,
    has_features,
    pooled,
    share_below,
)
from vitlab.predictor import Predictor
from vitlab.runs.load import data_of
from vitlab.runs.several import Loaded

log = logging.getLogger(__name__)

KINDS = ("energy", "distance")


class Unlikeness:
    """Scores photographs by `kind`, and says which share of the validation images is less unlike than each,
    by the checkpoint (energy) or the run's images (distance). Raises ValueError where these are missing."""

    def __init__(self, kind: str, loaded: Loaded, predictor: Predictor):
        if kind not in KINDS:
            raise ValueError(f"unlike={kind} is no score; known: {', '.join(KINDS)}")
        if loaded.is_averaged:
            raise ValueError(
                f"unlike={kind} is a score of one model on images as they are; one checkpoint without"
                " tta would work"
            )
        self.kind, self.model = kind, predictor.model
        self.energy = loaded.objective.energy
        self.scores: dict[int, float] = {}
        self.neighbours: Neighbours | None = None
        if kind == "distance":
            self.known = self._known_distances(loaded, predictor)
        else:
            if self.energy(torch.zeros(1, 1)) is None:
                raise ValueError(
                    f"unlike=energy: {type(loaded.objective).__name__} has no energy of its outputs;"
                    f" unlike={'distance' if has_features(predictor.model) else 'null'} would work"
                )
            self.known = loaded.objective.usual_energies

    def _known_distances(self, loaded: Loaded, predictor: Predictor) -> Tensor:
        if not has_features(predictor.model):
            raise ValueError(
                f"unlike=distance: a {type(predictor.model).__name__} has no pooled features;"
                f" unlike={'null' if self.energy(torch.zeros(1, 1)) is None else 'energy'} would work"
            )
        data = data_of(loaded.card, "train", None)
        data.prepare_data()
        data.setup()
        root, device = cache_root(None), predictor.device
        with torch.inference_mode():
            trained = features_of_split(predictor.model, data, "train", root, device)
            self.neighbours = Neighbours(trained)
            if not len(data.splits.get("val", ())):
                return torch.empty(0)
            validated = features_of_split(predictor.model, data, "val", root, device)
        return self.neighbours.distance(validated).sort().values

    @property
    def header(self) -> list[str]:
        """The columns of the table."""
        return [f"unlike_{self.kind}", "unlike_than_share"]

    def said(self) -> str:
        """Says in a line what the scores are held against."""
        what = "energy of the scores" if self.kind == "energy" else "distance to training features"
        if not len(self.known):
            return f"unlike: {what}; the checkpoint keeps no validation images to hold it against"
        return f"unlike: {what}, and which share of {len(self.known):,} validation images is less unlike"

    def seen(self, places: Sequence[int], images: Tensor, outputs: Tensor) -> None:
        """Scores a batch of photographs."""
        if self.neighbours is None:
            scores = self.energy(outputs)
            assert scores is not None
        else:
            scores = self.neighbours.distance(pooled(self.model, images))
        self.scores |= dict(zip(places, scores.tolist(), strict=True))

    def share(self, place: int) -> float | None:
        """Returns which share of validation images is less unlike than a photograph of the last batch."""
        return share_below(self.scores[place], self.known) if len(self.known) else None

    def cells(self, place: int) -> list[str]:
        """Returns what the table says of a photograph of the last batch."""
        share = self.share(place)
        return [f"{self.scores[place]:.6f}", "" if share is None else f"{share:.4f}"]

    def words(self, place: int) -> str:
        """Says of a photograph of the last batch how unlike it is."""
        share = self.share(place)
        if share is None:
            return f"  unlike {self.scores[place]:.3f}"
        return f"  more unlike than {share:.0%}"
