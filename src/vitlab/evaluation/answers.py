"""What a model said of the images of a split, and how sure its metrics are."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import MetricCollection

from vitlab.evaluation.bootstrap import DRAWINGS, FEWEST, Interval, interval, values_of_drawings
from vitlab.objectives.objective import Objective
from vitlab.objectives.weighted import CURVES, Weighted
from vitlab.uncertainty import likely_range

MOST_STEPS = 200_000_000
"""Images x classes x drawings that metrics of curves are counted on: about a second."""


class Answers(NamedTuple):
    """What a model said of each image [images, outputs], and the images' labels."""

    outputs: Tensor
    labels: Tensor


class Measured:
    """An objective's metrics for weighted images, all measured anew for each drawing."""

    def __init__(self, objective: Objective, answers: Answers):
        self.objective, self.answers = objective, answers
        self.metrics = objective.all_metrics("")
        if not objective.loss_from_outputs:
            self.metrics = MetricCollection({**objective.metrics()}, compute_groups=False)
        self.weights: Tensor | None = None
        self.values: list[dict[str, float]] = []

    def _measure(self, times: Tensor) -> dict[str, float]:
        drawn = torch.repeat_interleave(times)
        self.metrics.reset()
        self.objective.judge_kept(self.answers.outputs[drawn], self.answers.labels[drawn], self.metrics)
        return {name: float(value) for name, value in self.metrics.compute().items()}

    def by_name(self, name: str) -> Weighted:
        """Returns one of the metrics, nan where outputs do not tell it; the others of the same weights cost
        nothing then."""

        def of(weights: Tensor) -> Tensor:
            if self.weights is not weights:
                self.weights, self.values = weights, [self._measure(times) for times in weights.long().T]
            return torch.tensor([values.get(name, math.nan) for values in self.values])

        return of


def weighted_metrics(objective: Objective, answers: Answers) -> tuple[dict[str, Weighted], dict[str, int]]:
    """Returns an objective's metrics, the loss among them, and how often images are drawn for each."""
    known = objective.weighted(answers.outputs, answers.labels)
    steps, measured = answers.outputs.numel(), Measured(objective, answers)
    metrics, number = {}, {}
    for name in map(str, objective.all_metrics("").keys(keep_base=True)):
        if name in known:
            metrics[name] = known[name]()
            number[name] = max(FEWEST, min(DRAWINGS, MOST_STEPS // steps)) if name in CURVES else DRAWINGS
        else:
            metrics[name], number[name] = measured.by_name(name), FEWEST
    return metrics, number


def score_of(objective: Objective, answers: Answers) -> float:
    """Returns the objective's score on these images; nan where it has none."""
    known, once = objective.weighted(answers.outputs, answers.labels), torch.ones(len(answers.labels), 1)
    name = objective.score
    metric = known[name]() if name in known else Measured(objective, answers).by_name(name)
    return float(metric(once))


def intervals_of(
    objective: Objective, answers: Answers, values: Mapping[str, float], level: float, seed: int
) -> dict[str, Interval | None]:
    """Returns the interval around each metric that has a value, None where nothing tells it: for shares by
    Wilson's formula, which also tells something where all are right, for others by drawing images anew."""
    metrics, number = weighted_metrics(objective, answers)
    metrics = {name: metric for name, metric in metrics.items() if math.isfinite(values.get(name, math.nan))}
    shares = {name for name in metrics if name in objective.shares}
    drawn = {name: metric for name, metric in metrics.items() if name not in shares}
    found = values_of_drawings(drawn, len(answers.labels), seed, number)
    intervals: dict[str, Interval | None] = {name: interval(each, level) for name, each in found.items()}
    for name in shares:
        intervals[name] = Interval(*likely_range(values[name], len(answers.labels), level), level, 0)
    return {name: intervals[name] for name in metrics}
