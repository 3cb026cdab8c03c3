"""What the validation split tells of a classifier's probabilities: a temperature, and sets of classes that
hold the right one as often as they say."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from vitlab.objectives.energies import as_energies, energy, thinned
from vitlab.objectives.reliability import error_by_chance, quality
from vitlab.objectives.temperature import (
    HIGHEST,
    LOWEST,
    Evidence,
    as_evidence,
    evidence_for,
    fit_temperature,
)
from vitlab.shapes import Labels, Logits, SoftLabels
from vitlab.uncertainty import likely_range

COVERAGES = (0.8, 0.9, 0.95)
"""Shares of cases for which a test says how well sets of classes keep their word."""


class Calibration(NamedTuple):
    """What the validation split told: the temperature, and in ascending order for each of its images how far
    the right class was from certain, 1 - its probability, and the energy of its scores: float32 [images]
    each."""

    temperature: float
    scores: Tensor
    energies: Tensor = torch.empty(0)
    evidence: Evidence | None = None

    @classmethod
    def fitted(cls, logits: Logits, labels: Labels) -> "Calibration":
        """Fits both to scores and labels of the validation split. The temperature is 1
        where one that fits gains too little to tell it from chance."""
        temperature, evidence = fit_temperature(logits, labels), None
        if temperature != 1.0:
            evidence = evidence_for(temperature, logits, labels)
            temperature = temperature if evidence.is_enough else 1.0
        shares = (logits.float() / temperature).softmax(dim=1)
        scores = 1 - shares.gather(1, labels.long()[:, None])[:, 0]
        return cls(temperature, thinned(scores), thinned(energy(logits)), evidence)

    def how_sure(self) -> str:
        """Says how probabilities are made, and by what right."""
        if self.temperature != 1.0:
            why = f" ({self.evidence})" if self.evidence else ""
            return f"probabilities at temperature {self.temperature:.3g}, fitted on the validation split{why}"
        why = "the validation split held no mistake to scale them by"
        if self.evidence is not None:
            why = f"{self.evidence}, too little to tell it from chance"
        return f"probabilities as the model gives them: {why}"

    def threshold(self, coverage: float) -> float:
        """Returns how far from certain a class may be to belong to a set that holds the right one in a share
        `coverage` of cases: split conformal prediction (Vovk et al. 2005; Sadinle et al. 2019).

        1.0, which takes all classes, where the validation split is too small to tell.
        """
        count = len(self.scores)
        rank = math.ceil((count + 1) * coverage)
        return float(self.scores[rank - 1]) if 1 <= rank <= count else 1.0

    def told_of_sets(self, coverage: float) -> str:
        """Says how near to `coverage` sets come, for the number of images that they were fitted on."""
        fitted = f"sets for {coverage:.0%} of cases: {len(self.scores):,} validation image(s), on which they"
        if math.ceil((len(self.scores) + 1) * coverage) > len(self.scores):
            return f"{fitted} would be fitted, are too few, so that they hold all classes"
        low, high = likely_range(coverage, len(self.scores))
        return f"{fitted} were fitted, leave open {low:.0%} to {high:.0%}"

    def sets(self, probabilities: SoftLabels, coverage: float) -> Bool[Tensor, "batch classes"]:
        """Tells for each image which classes belong to its set; the most probable one always does."""
        held = 1 - probabilities <= self.threshold(coverage)
        return held.scatter(1, probabilities.argmax(dim=1, keepdim=True), True)

    def held_out(self, logits: Logits, labels: Labels) -> dict[str, float]:
        """Returns of other images how good the scaled probabilities are, and which share of the sets hold the
        right class, with the mean size of a set."""
        numbers = {
            f"{name}_scaled": value for name, value in quality(logits / self.temperature, labels).items()
        }
        probabilities = (logits.float() / self.temperature).softmax(dim=1)
        numbers["ece_scaled_by_chance"] = error_by_chance(probabilities)[0]
        for coverage in COVERAGES:
            held = self.sets(probabilities, coverage)
            numbers[f"coverage_at/{coverage}"] = float(held.gather(1, labels.long()[:, None]).double().mean())
            numbers[f"set_size_at/{coverage}"] = float(held.sum(dim=1).double().mean())
        return {"temperature": self.temperature} | numbers

    def as_plain(self) -> dict[str, Any]:
        """Returns plain data, for a checkpoint."""
        plain = {"temperature": self.temperature, "scores": self.scores, "energies": self.energies}
        return plain | ({"evidence": self.evidence._asdict()} if self.evidence else {})

    @classmethod
    def from_plain(cls, plain: Any) -> "Calibration":
        """Reads what `as_plain` returned. Raises ValueError where it is anything else."""
        temperature, scores = (plain or {}).get("temperature"), (plain or {}).get("scores")
        if type(temperature) is not float or not LOWEST / 2 <= temperature <= HIGHEST * 2:
            raise ValueError("objective.temperature")
        if not isinstance(scores, Tensor) or scores.dtype != torch.float32 or scores.ndim != 1:
            raise ValueError("objective.scores")
        if not len(scores) or not bool(((scores >= 0) & (scores <= 1)).all()):
            raise ValueError("objective.scores")
        return cls(temperature, scores.sort().values, as_energies(plain), as_evidence(plain))
