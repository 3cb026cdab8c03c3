"""Two models on the same images: McNemar's test is the binomial one, and the sentence says what is known."""

import pytest
import torch
from scipy.stats import binomtest

from vitlab.evaluation.paired import conclusion, differences, mcnemar
from vitlab.objectives.weighted import mean_of


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 11), (11, 3), (7, 7), (1200, 1300)])
def test_mcnemars_exact_test_is_scipys_binomial_test(first, second):
    right = torch.ones(first + second + 5, dtype=torch.bool)
    other = right.clone()
    other[:first] = False
    right[first : first + second] = False
    found = mcnemar(right, other)
    assert (found.only_first, found.only_second) == (first, second)
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p == pytest.approx(expected, rel=1e-9)


def test_a_difference_is_surer_than_two_numbers_apart_and_the_sentence_names_the_better_one():
    right = torch.arange(1000) % 2 == 0
    better = right.clone()
    better[1:80:2] = True  # 40 images more, and none less
    first, second = ({"accuracy": mean_of(each)} for each in (better, right))
    (found,) = differences(first, second, {}, 1000, 0.95, seed=0).values()
    assert found.difference == pytest.approx(0.04)
    assert 0.025 < found.interval.low < 0.04 < found.interval.high < 0.055  # apart: 0.5 is off by 0.03
    told = conclusion("accuracy", found, 0.95, mcnemar(better, right), 1000)
    assert "the checkpoint is better than the other, by 4 points" in told and "right on 40" in told
    (found,) = differences(second, first, {}, 1000, 0.95, seed=0).values()
    assert "the other is better" in conclusion("accuracy", found, 0.95, mcnemar(right, better), 1000)
    (found,) = differences(second, second, {}, 1000, 0.95, seed=0).values()
    assert "nothing tells the checkpoint and the other apart" in conclusion(
        "accuracy", found, 0.95, mcnemar(right, right), 1000
    )
