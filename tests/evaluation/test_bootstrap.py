"""Intervals from drawn images hold the truth as often as they say."""

import math

import pytest
import torch

from vitlab.evaluation.answers import Answers, intervals_of
from vitlab.evaluation.bootstrap import interval, values_of_drawings, weights_of_drawings
from vitlab.objectives.classification import Classification
from vitlab.objectives.weighted import mean_of


def test_each_drawing_draws_as_many_images_as_there_are_and_one_seed_draws_the_same():
    first, again = (torch.cat(list(weights_of_drawings(50, 130, seed=3)), dim=1) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (50, 130) and set(first.sum(dim=0).tolist()) == {50}
    assert first.var(dim=1).mean() == pytest.approx(1.0, abs=0.1)  # multinomial: nearly Poisson


def test_the_interval_of_a_mean_is_that_of_its_standard_error_and_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(60):
        values = torch.randn(300, generator=torch.Generator().manual_seed(seed))
        drawn = values_of_drawings({"mean": mean_of(values)}, 300, seed, {"mean": 400})["mean"]
        likely = interval(drawn, 0.9)
        held += likely.low <= 0 <= likely.high
        assert (likely.high - likely.low) / 2 == pytest.approx(
            1.645 * values.std() / math.sqrt(300), rel=0.25
        )
    assert 48 <= held <= 59  # 54 expected


def test_what_never_varies_or_mostly_has_no_value_has_no_interval():
    assert interval(torch.ones(100), 0.95) is None
    assert interval(torch.cat([torch.randn(90), torch.full((10,), torch.nan)]), 0.95) is None


class Counted(Classification):
    """Leaves its metrics to be measured anew for each drawing."""

    def weighted(self, outputs, labels):
        return {}


def test_a_metric_that_knows_no_weights_gets_the_interval_that_it_would_get_with_them():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (60,), generator=generator)
    logits = torch.randn(60, 3, generator=generator) + torch.nn.functional.one_hot(labels, 3)
    told = {}
    for kind in (Classification, Counted):
        objective = kind(3, 0.0, "val/accuracy", "max", metrics=["accuracy", "f1_macro"])
        values = {"f1_macro": 0.5, "accuracy": 0.5, "loss": math.nan}
        told[kind] = intervals_of(objective, Answers(logits, labels), values, 0.9, seed=1)
    assert set(told[Counted]) == {"f1_macro", "accuracy"}  # the loss has no value here
    assert told[Counted]["f1_macro"].low == pytest.approx(told[Classification]["f1_macro"].low, abs=0.02)
    assert told[Counted]["accuracy"] == told[Classification]["accuracy"]
