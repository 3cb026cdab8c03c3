"""One number that makes a classifier's probabilities mean what they say, and what it gains."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from vitlab.shapes import Labels, Logits

LOWEST, HIGHEST = 0.02, 50.0
"""Temperatures between which one is looked for."""

FOLDS = 5
"""Parts of the validation images that take turns to tell what a temperature gains; 2 of very many scores."""

MOST_NUMBERS = 5_000_000
"""Scores that a temperature is fitted to; of more images evenly spaced ones are taken."""


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Returns the number by which to divide scores so that the right classes are least surprising: "On
    Calibration of Modern Neural Networks" (Guo et al. 2017, arXiv:1706.04599).

    From 0.02 to 50; above 1: the model was too sure. The loss is convex in 1 / temperature, so its one
    minimum is bracketed. Where no image is answered wrong there is none, every sharper answer being better,
    and 1.0 is returned.
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
    """Returns what a fitted temperature gains, in nats an image, by cross-fitting: each part of the images
    is scaled by what the others tell."""
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


def as_evidence(plain: Any) -> Evidence | None:
    """Reads evidence that a file holds, None where it holds none. Raises ValueError where it is anything
    else."""
    if (found := plain.get("evidence")) is None:  # a checkpoint of before there was any, or nothing to tell
        return None
    kinds = {"tried": float, "gain": float, "error": float, "images": int}
    if not isinstance(found, dict) or {key: type(value) for key, value in found.items()} != kinds:
        raise ValueError("objective.evidence")
    return Evidence(**found)
