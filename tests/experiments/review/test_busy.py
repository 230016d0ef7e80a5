"""Which hours are judged, and that their loads carry all that is not known of them, no more and no less."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.review.busy import BusyHour, LoadDraws, day_factors, weighted_quantile
from tests.experiments.review.known_fit import known_fit


def week(**peaks: tuple[int, float]) -> np.ndarray:
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    rates = np.full((7, 24), 10.0)
    for day, (hour, rate) in peaks.items():
        rates[days.index(day), hour] = rate
    return rates


def test_weekdays_that_are_nearly_as_busy_as_the_busiest_are_judged() -> None:
    busy = BusyHour.of(known_fit(week(mon=(11, 200.0), tue=(12, 180.0), wed=(11, 179.0), fri=(11, 195.0))))
    assert busy.hours == ((0, 11), (1, 12), (4, 11))
    assert busy.per_minute.value == pytest.approx((200 + 180 + 195) / 3)
    assert busy.words == "Monday and Friday 11:00 to 12:00; Tuesday 12:00 to 13:00"


def test_the_mean_rate_has_the_spread_of_the_draws() -> None:
    fit = known_fit(200.0, rate_cv=0.05, draws=400)
    busy = BusyHour.of(fit)
    low, high = np.quantile(fit.arrivals.rate_draws[:, 0, 0], [0.025, 0.975])
    assert (busy.per_minute.low, busy.per_minute.high) == pytest.approx((low, high))
    assert len(busy.hours) == 7


@pytest.mark.parametrize("cv", [0.0, 0.02, 0.1, 0.3, 1.0])
def test_day_factors_have_mean_one_and_nearly_their_spread(cv: float) -> None:
    factors = day_factors(cv, 11)
    assert factors.mean() == pytest.approx(1.0, abs=1e-9)
    assert (np.diff(factors) >= 0).all()
    # Each part stands with its own mean: what is lost is the variance within the parts.
    assert factors.std() <= cv + 1e-12
    assert factors.std() >= 0.94 * cv


def test_day_factors_are_the_means_of_their_parts() -> None:
    cv, parts = 0.2, 5
    draws = np.sort(stats.gamma.rvs(cv**-2, scale=cv**2, size=400_000, random_state=1)).reshape(parts, -1)
    # Of means of parts of 80,000 draws: at most the whole spread over the root of their number.
    assert day_factors(cv, parts) == pytest.approx(draws.mean(axis=1), abs=4.5 * cv / 80_000**0.5)


def test_loads_are_rate_times_growth_times_the_day() -> None:
    fit = known_fit(week(mon=(11, 200.0), fri=(11, 190.0)), day_cv=0.1, draws=60)
    loads = BusyHour.of(fit).loads(fit, 1.5, 0.0, np.random.default_rng(1), draws=60, quantiles=11)
    assert loads.per_minute.shape == (60, 2 * 11)
    assert loads.weights.sum() == pytest.approx(1.0)
    assert loads.mean(loads.per_minute) == pytest.approx(np.full(60, 1.5 * 195))
    assert loads.per_minute[0] == pytest.approx(1.5 * np.outer([200, 190], day_factors(0.1, 11)).ravel())


def test_growth_that_is_not_sure_widens_the_mean_and_keeps_its_expectation() -> None:
    fit = known_fit(200.0)
    means = BusyHour.of(fit).loads(fit, 1.2, 0.1, np.random.default_rng(1), draws=400).per_minute.mean(axis=1)
    assert means.mean() == pytest.approx(240, rel=2e-3)
    assert means.std() / means.mean() == pytest.approx(0.1, rel=0.02)


def test_draws_of_rate_and_of_the_days_spread_stay_together() -> None:
    fit = known_fit(200.0, rate_cv=0.1, draws=3)
    spread = np.array([0.0, 0.1, 0.3])
    object.__setattr__(fit.arrivals, "day_cv_draws", spread)
    loads = BusyHour.of(fit).loads(fit, 1.0, 0.0, np.random.default_rng(1), draws=6, quantiles=5)
    assert loads.per_minute[3:] == pytest.approx(loads.per_minute[:3])
    for entry in range(3):
        rate = fit.arrivals.rate_draws[entry, 0, 0]
        assert loads.per_minute[entry, :5] == pytest.approx(rate * day_factors(float(spread[entry]), 5))


def test_grown_loads_and_their_quantiles() -> None:
    loads = LoadDraws(np.array([[1.0, 3.0], [2.0, 4.0]]), np.array([0.75, 0.25]))
    assert loads.mean(loads.per_minute) == pytest.approx([1.5, 2.5])
    assert loads.grown(2.0).mean_per_minute.value == pytest.approx(4.0)
    assert loads.quantile(np.array([0.0, 0.375, 0.74, 0.76, 1.0])) == pytest.approx([1, 1, 2, 3, 4])


def test_a_weighted_quantile_of_equal_weights_is_the_ordinary_one() -> None:
    values = np.random.default_rng(1).normal(size=1001)
    shares = np.linspace(0, 1, 101)
    expected = np.quantile(values, shares, method="inverted_cdf")
    assert weighted_quantile(values, np.ones(1001), shares) == pytest.approx(expected)
