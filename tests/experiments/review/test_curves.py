"""Curves meet exact answers where there are some: control variate, interpolation, noise of few repetitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.review.busy import LoadDraws
from experiments.review.curves import Curve

NODES = np.array([100.0, 150.0, 200.0, 250.0])


def straight(slope: float, surplus: np.ndarray) -> Curve:
    """What is offered beyond the expectation moves a straight response along itself."""
    return Curve.of(NODES, slope * (NODES + surplus), NODES + surplus)


def test_the_control_variate_takes_all_noise_that_the_number_of_calls_explains() -> None:
    surplus = np.random.default_rng(1).normal(0, 5, (4, 1))
    curve = straight(0.01, surplus)
    assert curve.corrected == pytest.approx(np.tile(0.01 * NODES, (4, 1)))
    assert curve.at(np.array([120.0, 233.0])) == pytest.approx([1.2, 2.33])


def test_the_control_variate_keeps_the_mean_and_cuts_the_variance() -> None:
    rng = np.random.default_rng(2)
    surplus = rng.normal(0, 3, (2000, 1)) + np.zeros(4)
    own = rng.normal(0, 0.01, (2000, 4))
    curve = Curve.of(NODES, 0.01 * (NODES + surplus) + own, NODES + surplus)
    error = 0.01 / math.sqrt(2000)
    assert curve.corrected.mean(axis=0) == pytest.approx(0.01 * NODES, abs=4.5 * error)
    assert curve.corrected.std(axis=0) == pytest.approx(np.full(4, 0.01), rel=4.5 / math.sqrt(2 * 2000))


def test_beyond_its_nodes_a_curve_stays_as_it_is_there() -> None:
    curve = straight(0.01, np.zeros((2, 1)))
    assert curve.at(np.array([0.0, 1000.0])) == pytest.approx([1.0, 2.5])


def test_a_curve_between_nodes_never_leaves_what_the_nodes_have() -> None:
    seen = np.array([[0.0, 0.0, 0.02, 0.2], [0.0, 0.0, 0.03, 0.21]])
    curve = Curve.of(NODES, seen, np.tile(NODES, (2, 1)), 1.0)
    at = curve.at(np.linspace(100, 250, 301))
    assert at.min() >= 0
    assert (np.diff(at) >= -1e-12).all()


def test_noise_of_few_repetitions_is_students() -> None:
    """All draws have the same load: their spread is that of the mean of the repetitions, by Student's t."""
    curve = Curve.of(NODES[:1], np.array([[1.0], [2.0], [3.0], [6.0]]), np.full((4, 1), 100.0))
    loads = LoadDraws(np.full((999, 1), 100.0), np.ones(1))
    error = np.std([1, 2, 3, 6], ddof=1) / 2
    means = curve.mean(loads)
    assert np.median(means) == pytest.approx(3.0)
    for share in (0.05, 0.5, 0.9):
        bound = 3.0 + stats.t.ppf(share, 3) * error
        # Evenly spread quantiles: the share is exact to one draw.
        assert (means <= bound).mean() == pytest.approx(share, abs=1 / 999)
    estimate = curve.estimate(loads)
    assert estimate.value == pytest.approx(3.0)
    assert estimate.high == pytest.approx(3.0 + stats.t.ppf(0.975, 3) * error, rel=0.02)
    assert estimate.low == pytest.approx(max(0.0, 3.0 + stats.t.ppf(0.025, 3) * error), abs=0.02)


def test_the_probability_carries_the_uncertainty_of_the_input() -> None:
    curve = straight(0.01, np.zeros((2, 1)))
    loads = LoadDraws(np.linspace(150, 250, 101)[:, None], np.ones(1))
    assert curve.probability(loads, 1.9999, is_upper=True) == pytest.approx(50 / 101)
    assert curve.probability(loads, 1.9999, is_upper=False) == pytest.approx(51 / 101)
    assert curve.estimate(loads).value == pytest.approx(2.0)


def test_the_mean_is_over_hours_and_the_band_is_of_single_hours() -> None:
    curve = straight(0.01, np.array([[-10.0], [10.0]]))
    loads = LoadDraws(np.array([[120.0, 220.0]]), np.array([0.75, 0.25]))
    assert curve.estimate(loads).value == pytest.approx(0.75 * 1.2 + 0.25 * 2.2)
    # Between nodes the two repetitions differ by what they were offered more or less.
    hours, times = np.unique(np.round(curve.hours(loads), 9), return_counts=True)
    assert hours == pytest.approx([1.1, 1.3, 2.1, 2.3])
    assert times / times.sum() == pytest.approx([0.375, 0.375, 0.125, 0.125])
    band = curve.band(loads)
    assert (band.low, band.value, band.high) == pytest.approx((1.1, 1.3, 2.3))


def test_nodes_without_the_indicator_are_left_out() -> None:
    seen = np.array([[math.nan, 1.5, 2.0, 2.5], [1.0, 1.5, 2.0, 2.5]])
    curve = Curve.of(NODES, seen, np.tile(NODES, (2, 1)))
    assert curve.at(np.array([100.0, 200.0])) == pytest.approx([1.5, 2.0])
    nothing = Curve.of(NODES, np.full((2, 4), math.nan), np.tile(NODES, (2, 1)))
    loads = LoadDraws.constant(200.0)
    assert math.isnan(nothing.probability(loads, 1.0, is_upper=True))
    assert math.isnan(nothing.estimate(loads).value)


def test_shares_stay_shares() -> None:
    curve = Curve.of(NODES[:1], np.array([[0.99], [1.0]]), np.full((2, 1), 100.0), 1.0)
    loads = LoadDraws(np.full((99, 1), 100.0), np.ones(1))
    assert curve.estimate(loads).high == 1.0
    assert curve.probability(loads, 1.0, is_upper=True) == 1.0
