"""Probabilities that mean what they say: a temperature and sets of classes, both fitted on the validation
split alone."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vitlab.shapes import Labels, Logits
from vitlab.uncertainty import likely_range

LOWEST, HIGHEST = 0.02, 50.0
"""Temperatures between which one is looked for."""

NUM_BINS = 15
"""Bins of equal width for the expected calibration error, as in Guo et al. 2017 (arXiv:1706.04599)."""

FOLDS = 5
"""Parts of the validation images that take turns to tell what a temperature gains; 2 of very many scores."""

COVERAGES = (0.8, 0.9, 0.95)
"""Shares of cases for which a test says how well sets of classes keep their word."""

MOST_NUMBERS = 5_000_000
"""Scores that a temperature is fitted to; of more images evenly spaced ones are taken."""

MOST_SCORES = 20_000
"""Images whose distance from the truth is kept for sets of classes."""


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Returns the number by which to divide scores so that the right classes are least surprising: "On
    Calibration of Modern Neural Networks" (Guo et al. 2017, arXiv:1706.04599).

    Above 1: the model was too sure. The loss is convex in 1 / temperature, so its one minimum is bracketed.
    Where no image is answered wrong there is none, every sharper answer being better, and 1.0 is returned.
    """
    if bool((logits.argmax(dim=1) == labels).all()):
        return 1.0
    every = max(1, logits.numel() // MOST_NUMBERS)
    logits, labels = logits[::every].double(), labels[::every].long()[:, None]
    right = logits.gather(1, labels)
    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(40):
        scale = math.sqrt(low * high)
        expected = ((logits * scale).softmax(dim=1) * logits).sum(dim=1)
        if float((expected - right[:, 0]).mean()) > 0:  # the loss grows with the scale
            high = scale
        else:
            low = scale
    return 1 / math.sqrt(low * high)


class Evidence(NamedTuple):
    """What a temperature gained on images that it was not fitted to: by how much their negative log-
    likelihood fell on average, give or take its standard error, on so many images."""

    tried: float
    gain: float
    error: float
    images: int

    @property
    def is_enough(self) -> bool:
        """Tells whether the gain is above its standard error."""
        return self.gain > self.error

    def __str__(self) -> str:
        """Returns it as words: "temperature 0.9 gains 0.0040 ± 0.0020 of NLL on 146 validation images"."""
        what = f"temperature {self.tried:.3g} gains {self.gain:.4f} ± {self.error:.4f} of NLL"
        return f"{what} on {self.images:,} validation images"


def evidence_for(temperature: float, logits: Logits, labels: Labels) -> Evidence:
    """Returns what a fitted temperature gains, by cross-fitting: each part of the images is scaled by what
    the others tell."""
    every = max(1, logits.numel() // MOST_NUMBERS)
    logits, labels = logits[::every].double(), labels[::every].long()
    parts = torch.arange(len(labels)) % (FOLDS if logits.numel() < MOST_NUMBERS // 10 else 2)
    gains = torch.zeros(len(labels), dtype=torch.float64)
    for part in parts.unique():
        here = parts == part
        of_others = fit_temperature(logits[~here], labels[~here])
        plain, scaled = (
            F.cross_entropy(logits[here] / each, labels[here], reduction="none") for each in (1.0, of_others)
        )
        gains[here] = plain - scaled
    error = float(gains.std() / math.sqrt(len(gains))) if len(gains) > 1 else math.inf
    return Evidence(temperature, float(gains.mean()), error, len(gains))


class Bins(NamedTuple):
    """Images sorted by confidence into bins of equal width: how many, how sure on average, how often
    right."""

    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error: how far confidence is from accuracy, as a mean over the images."""
        gaps = (self.confidence - self.accuracy).nan_to_num().abs()
        return float((gaps * self.count).sum() / self.count.sum())


def by_confidence(probabilities: Tensor, labels: Labels, num_bins: int = NUM_BINS) -> Bins:
    """Sorts images by the probability of their most probable class."""
    surely, said = probabilities.max(dim=1)
    place = (surely * num_bins).long().clamp_max(num_bins - 1)
    count = place.bincount(minlength=num_bins).double()
    sums = [
        torch.zeros(num_bins, dtype=torch.float64).index_add_(0, place, values.double())
        for values in (surely, said == labels)
    ]
    return Bins(count, sums[0] / count, sums[1] / count)


def error_by_chance(probabilities: Tensor, num_drawn: int = 200) -> tuple[float, float]:
    """Returns the calibration error of a model that is as sure of each of these images, and means it: the
    mean over drawings of what it is right on, and what 95 % of them stay below.

    "Increasing the Reliability of Reliability Diagrams" (Bröcker and Smith 2007).
    """
    surely = probabilities.max(dim=1).values.float()
    place = (surely * NUM_BINS).long().clamp_max(NUM_BINS - 1)
    generator, errors = torch.Generator().manual_seed(0), []
    for _ in range(num_drawn):
        gap = surely - (torch.rand(len(surely), generator=generator) < surely).float()
        sums = torch.zeros(NUM_BINS).index_add_(0, place, gap)
        errors.append(float(sums.abs().sum()) / len(surely))
    return sum(errors) / num_drawn, sorted(errors)[math.ceil(0.95 * num_drawn) - 1]


def quality(logits: Logits, labels: Labels) -> dict[str, float]:
    """Returns how good probabilities are: their negative log-likelihood, Brier score (0 to 2) and expected
    calibration error."""
    probabilities, right = logits.double().softmax(dim=1), labels.long()[:, None]
    of_right = probabilities.gather(1, right)[:, 0]
    brier = probabilities.square().sum(dim=1) - 2 * of_right + 1
    return {
        "nll": -float(logits.double().log_softmax(dim=1).gather(1, right).mean()),
        "brier": float(brier.mean()),
        "ece": by_confidence(probabilities, labels).error,
    }


def energy(logits: Logits) -> Tensor:
    """Returns -log of the sum of the exponents of an image's scores; more is more unlike training images."""
    return -logits.float().logsumexp(dim=1)


def thinned(values: Tensor) -> Tensor:
    """Returns values in ascending order, of more than `MOST_SCORES` evenly spaced ones."""
    every = max(1, -(-len(values) // MOST_SCORES))
    return values.sort().values[::every].contiguous()


def as_energies(plain: Mapping[str, Any]) -> Tensor:
    """Reads energies that a file holds; checkpoints of before there were any have none. Raises ValueError
    where they are anything else."""
    energies = plain.get("energies", torch.empty(0))
    if not isinstance(energies, Tensor) or energies.dtype != torch.float32 or energies.ndim != 1:
        raise ValueError("objective.energies")
    return energies.sort().values


def _as_evidence(plain: Mapping[str, Any]) -> Evidence | None:
    if (found := plain.get("evidence")) is None:  # a checkpoint of before there was any, or nothing to tell
        return None
    kinds = {"tried": float, "gain": float, "error": float, "images": int}
    if not isinstance(found, dict) or {key: type(value) for key, value in found.items()} != kinds:
        raise ValueError("objective.evidence")
    return Evidence(**found)


class Calibration(NamedTuple):
    """What the validation split told: the temperature, and in ascending order for each of its images how far
    the right class was from certain, 1 - its probability, and the energy of its scores."""

    temperature: float
    scores: Tensor
    energies: Tensor = torch.empty(0)
    evidence: Evidence | None = None

    @classmethod
    def fitted(cls, logits: Logits, labels: Labels) -> "Calibration":
        """Fits both to scores [images, classes] and labels of the validation split. The temperature is 1
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

    def sets(self, probabilities: Tensor, coverage: float) -> Tensor:
        """Tells for each image which classes belong to its set [images, classes]; the most probable one
        always does."""
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
        return cls(temperature, scores.sort().values, as_energies(plain), _as_evidence(plain))
