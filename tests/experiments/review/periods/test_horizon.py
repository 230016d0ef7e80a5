"""What the judged periods may want: means, weights and ranges that follow from what went in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from trunkproof.experiments.review.periods.horizon import DRAWS, Demand, lognormal

RATES = np.array([180.0, 200.0, 220.0, 190.0])


def drawn(
    rates: np.ndarray = RATES,
    *,
    optimism: float = 0.0,
    growth: float = 1.0,
    growth_cv: float = 0.01,
    level: float = 1.0,
) -> Demand:
    random = np.random.default_rng(1)
    unsure = growth * lognormal(growth_cv, DRAWS, random)
    return Demand.of(rates, np.full((DRAWS, len(rates)), level), unsure, random, optimism=optimism)


def test_the_mean_is_that_of_the_days_brought_to_the_horizon() -> None:
    days = np.tile(RATES, 10)
    found = drawn(days, growth=1.5, level=1.1)
    # Weights are drawn anew in each of the alternatives: each mean is off by a bootstrap's error.
    error = days.std() / math.sqrt(len(days)) / math.sqrt(DRAWS)
    assert found.mean_per_minute.value == pytest.approx(1.65 * days.mean(), abs=4.5 * 1.65 * error + 0.01 * days.mean())
    assert found.mean_per_minute.low < found.mean_per_minute.value < found.mean_per_minute.high


def test_weights_sum_to_one_and_are_even_in_the_mean() -> None:
    found = drawn()
    assert found.weights.shape == (DRAWS, 4)
    assert found.weights.sum(axis=1) == pytest.approx(np.ones(DRAWS))
    # A flat Dirichlet weight of four has variance 3/80.
    assert found.weights.mean(axis=0) == pytest.approx(np.full(4, 0.25), abs=4.5 * math.sqrt(3 / 80 / DRAWS))


def test_each_day_keeps_its_own_level() -> None:
    random = np.random.default_rng(1)
    level = np.exp(0.2 * random.standard_normal((DRAWS, 1))) * np.array([1.0, 1.2, 1.0, 0.8])
    found = Demand.of(RATES, level, np.ones(DRAWS), random)
    assert found.base / found.base[0] == pytest.approx([1.0, 1.2, 1.0, 0.8])
    ratios = found.per_minute / (RATES * level)
    assert np.median(ratios, axis=0) == pytest.approx(np.ones(4), abs=0.05)


def test_another_base_and_growth_say_the_same_in_other_factors() -> None:
    found = drawn()
    other = found.over(2 * found.base)
    assert other.relative == pytest.approx(found.relative / 2)
    assert other.per_minute == pytest.approx(found.per_minute)
    assert found.grown(1.3).per_minute == pytest.approx(1.3 * found.per_minute)
    assert found.grown(1.3).base == pytest.approx(found.base)


def test_growth_that_is_not_sure_widens_the_range() -> None:
    sure, unsure = (drawn(np.full(30, 200.0), growth_cv=cv).mean_per_minute for cv in (0.01, 0.2))
    assert (unsure.high - unsure.low) / (sure.high - sure.low) > 10
    # The central 95 % of a lognormal factor with that coefficient of variation.
    deviation = math.sqrt(math.log1p(0.04))
    assert unsure.high == pytest.approx(200 * math.exp(1.96 * deviation - deviation**2 / 2), rel=0.02)


def test_days_to_come_may_be_busier_than_any_that_was_seen() -> None:
    logs = 0.2 * stats.norm.ppf((np.arange(25) + 0.5) / 25)
    days = 200 * np.exp(logs)
    found = drawn(days)
    # A sixth of the days is new, by Student's t with 24 degrees of freedom; one of them is 5 % above all.
    above = float(stats.t.sf((logs.max() + math.log(1.05)) / logs.std(ddof=1), 24))
    expected = 1 - (1 - above / 6) ** 25
    share = float((found.per_minute.max(axis=1) > 1.05 * days.max()).mean())
    assert share == pytest.approx(expected, abs=4.5 * math.sqrt(expected * (1 - expected) / DRAWS))
    # They keep their order, so that each day's simulation is used near its own level.
    assert (np.diff(found.per_minute, axis=1) >= -1e-9).all()


def test_the_spread_of_days_is_as_unsure_as_that_of_a_sample() -> None:
    logs = 0.2 * np.random.default_rng(4).standard_normal(25)
    found = drawn(200 * np.exp(logs))
    middle = (found.weights * np.log(found.per_minute)).sum(axis=1, keepdims=True)
    deviations = np.sqrt((found.weights * (np.log(found.per_minute) - middle) ** 2).sum(axis=1))
    # The relative error of a normal sample's deviation is 1 / sqrt(2 D): drawn once, not twice.
    assert deviations.std() / deviations.mean() == pytest.approx(1 / math.sqrt(50), rel=0.35)
    assert deviations.mean() == pytest.approx(logs.std(), rel=0.1)


def test_days_that_are_all_alike_stay_alike() -> None:
    found = drawn(np.full(4, 200.0))
    assert found.day_cv == pytest.approx(0.01, rel=0.05)  # that of growth
    assert np.ptp(found.per_minute, axis=1) == pytest.approx(np.zeros(DRAWS), abs=1e-9)


def test_optimism_is_taken_off_by_half_in_the_mean() -> None:
    plain, humble = drawn(), drawn(optimism=0.1)
    assert humble.mean_per_minute.value / plain.mean_per_minute.value == pytest.approx(
        (1 - math.exp(-0.1)) / 0.1, rel=0.01
    )
    assert humble.mean_per_minute.high <= plain.mean_per_minute.high


def test_a_load_that_is_known() -> None:
    known = Demand.constant(150.0)
    assert known.mean_per_minute.value == known.mean_per_minute.low == known.mean_per_minute.high == 150
    assert known.day_cv == 0


@pytest.mark.parametrize("cv", [0.01, 0.1, 0.5])
def test_lognormal_factors_have_mean_one_and_their_spread(cv: float) -> None:
    factors = lognormal(cv, 2000, np.random.default_rng(1))
    assert factors.mean() == pytest.approx(1, rel=2e-3)
    assert factors.std() == pytest.approx(cv, rel=0.02)
    # In random order: a draw says nothing of the next one.
    assert abs(np.corrcoef(factors[1:], factors[:-1])[0, 1]) < 4.5 / math.sqrt(2000)
