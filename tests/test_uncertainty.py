"""The interval around a counted share, against its definition."""

import math
from statistics import NormalDist

import pytest

from vitlab.uncertainty import likely_range


@pytest.mark.parametrize(("share", "count"), [(0.9, 100), (0.5, 7), (0.0, 30), (1.0, 146), (0.728, 735)])
def test_the_bounds_are_where_the_share_is_two_standard_errors_away(share, count):
    for bound in likely_range(share, count):
        assert abs(bound - share) == pytest.approx(
            NormalDist().inv_cdf(0.975) * math.sqrt(bound * (1 - bound) / count), abs=1e-9
        )


def test_a_few_images_tell_less_than_many():
    (few_low, few_high), (low, high) = likely_range(0.8, 20), likely_range(0.8, 2000)
    assert 0 <= few_low < low < 0.8 < high < few_high <= 1
