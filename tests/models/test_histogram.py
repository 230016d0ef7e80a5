"""The logarithmic histogram: quantiles within half a bin, exact merging."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.models.histogram import LogHistogram


def test_quantiles_are_within_half_a_bin_of_the_exact_ones() -> None:
    values = np.sort(np.random.default_rng(1).lognormal(1, 2, 10_000))
    histogram = LogHistogram()
    histogram.add(values)
    for share in (0.001, 0.05, 0.5, 0.95, 0.999, 1.0):
        exact = values[int(np.ceil(share * len(values))) - 1]
        assert histogram.quantile(share) == pytest.approx(exact, rel=5.1e-4)
    assert histogram.mean() == pytest.approx(values.mean())
    assert histogram.maximum == values[-1]


def test_merging_is_exact() -> None:
    values = np.random.default_rng(2).exponential(5, 1000)
    whole, left, right = LogHistogram(), LogHistogram(), LogHistogram()
    whole.add(values)
    left.add(values[:300])
    right.add(values[300:])
    left.merge(right)
    assert [left.quantile(share / 100) for share in range(1, 101)] == [
        whole.quantile(share / 100) for share in range(1, 101)
    ]
    assert left.maximum == whole.maximum


def test_nothing_counted_has_no_quantile_and_zero_is_zero() -> None:
    histogram = LogHistogram()
    assert histogram.quantile(0.5) is None
    assert histogram.mean() is None
    histogram.add(np.zeros(3))
    assert histogram.quantile(0.5) == 0
