"""Quantile plots: the band is what its formula says, right samples lie in it, and planted errors leave it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trunkproof.experiments.verification.check import Check, Point, one_sided_alarm
from trunkproof.experiments.verification.durations import arrival_gaps, holding_times
from trunkproof.experiments.verification.quantiles import band, quantile_check, score_check
from trunkproof.models.arrays import FloatArray

DICE = np.random.default_rng(1)


def judged(sample: FloatArray) -> Check:
    return quantile_check("q", "Q", {"planted": sample}, "")


@pytest.mark.parametrize("count", [1, 30, 2000])
def test_each_ordered_value_leaves_the_band_as_rarely_as_allowed(count: int) -> None:
    low, high = band(count)
    for rank in {1, (count + 1) // 2, count}:
        place = stats.beta(rank, count - rank + 1)
        assert place.cdf(low[rank - 1]) == pytest.approx(one_sided_alarm() / count, rel=1e-6)
        assert place.sf(high[rank - 1]) == pytest.approx(one_sided_alarm() / count, rel=1e-6)


def test_uniforms_are_correct() -> None:
    assert judged(DICE.random(2000)).is_correct


@pytest.mark.parametrize(
    "wrong",
    [
        stats.expon.cdf(1.15 * DICE.exponential(size=20_000)),
        stats.expon.cdf(np.full(20_000, 1.0)),
        stats.lognorm.cdf(DICE.lognormal(sigma=1.0, size=20_000), 1.15),
    ],
    ids=["a mean 15 % off", "constant", "a wrong spread"],
)
def test_planted_errors_are_found(wrong: FloatArray) -> None:
    check = judged(wrong)
    assert not check.is_correct
    assert check.values["outside"]["planted"] > 0
    assert any(trace.name == "planted, outside" for trace in check.panel.figure.data)


def _points(spread: float, bias: float = 0.0) -> list[Point]:
    scores = spread * DICE.standard_normal(800) + bias
    return [Point("p", 0.0, float(score), 1.0, 10**7) for score in scores]


def test_scores_with_right_standard_errors_are_correct() -> None:
    assert score_check(_points(1.0)).is_correct


@pytest.mark.parametrize(("spread", "bias"), [(1.5, 0.0), (0.6, 0.0), (1.0, 0.4)])
def test_wrong_standard_errors_and_a_common_bias_are_found(spread: float, bias: float) -> None:
    assert not score_check(_points(spread, bias)).is_correct


def test_simulated_gaps_and_holding_times_have_means_of_their_kind() -> None:
    # The mean of n uniforms has the standard error 1 / sqrt(12 n).
    for sample in [*arrival_gaps(500).values(), *holding_times(500).values()]:
        assert len(sample) == 500
        assert abs(sample.mean() - 0.5) < 4.5 / np.sqrt(12 * 500)
