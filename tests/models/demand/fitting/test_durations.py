"""Durations: the right kind is chosen, its mean is the sample's, the history's end and whole seconds do no harm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from trunkproof.models.demand.fitting.durations import fit_durations, holding_times, known_durations, misfit
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.distributions import Constant, Exponential, Lognormal, Mixture, MixturePart

EXPONENTIAL = Exponential(kind="exponential", mean_s=120)
LOGNORMAL = Lognormal(kind="lognormal", mean_s=180, cv=1.3)
MIXTURE = Mixture(
    kind="mixture",
    parts=(
        MixturePart(weight=0.3, of=Lognormal(kind="lognormal", mean_s=8, cv=0.5)),
        MixturePart(weight=0.7, of=Lognormal(kind="lognormal", mean_s=260, cv=0.9)),
    ),
)


@pytest.mark.parametrize("truth", [EXPONENTIAL, LOGNORMAL, MIXTURE], ids=lambda one: one.kind)
def test_the_kind_is_found_and_the_mean_is_the_samples(truth: Exponential | Lognormal | Mixture) -> None:
    seconds = np.round(truth.quantile(np.random.default_rng(1).random(40_000)))
    fit = fit_durations(seconds, seed=1)
    assert fit is not None
    assert type(fit.distribution) is type(truth)
    assert fit.distribution.mean() == pytest.approx(seconds.mean())
    # Twice a 95 % interval's reach: 4 standard errors.
    assert abs(fit.mean_s.value - truth.mean()) < fit.mean_s.high - fit.mean_s.low
    assert fit.alternatives[0].aic < fit.alternatives[-1].aic
    assert misfit(seconds, fit.distribution) < 0.02
    middle = slice(10, 90)
    assert np.allclose(fit.observed_quantiles_s[middle], fit.fitted_quantiles_s[middle], rtol=0.1, atol=1)


def test_a_lognormals_spread_is_found() -> None:
    fit = fit_durations(LOGNORMAL.quantile(np.random.default_rng(2).random(40_000)), seed=1)
    assert fit is not None
    assert isinstance(fit.distribution, Lognormal)
    # Of sigma the standard error is sigma / sqrt(2 n); cv = sqrt(exp(sigma²) - 1).
    sigma = np.sqrt(np.log1p(1.3**2))
    slope = sigma * np.exp(sigma**2) / 1.3
    assert abs(fit.distribution.cv - 1.3) < 4.5 * slope * sigma / np.sqrt(2 * 40_000)


def test_all_alike_is_constant() -> None:
    fit = fit_durations(np.full(100, 7.0), seed=1)
    assert fit is not None
    assert fit.distribution == Constant(value_s=7)


def test_too_few_are_not_fitted_and_the_assumption_stands() -> None:
    assert fit_durations(np.full(29, 7.0), seed=1) is None
    empty = pl.DataFrame(schema={"status": pl.String, "holding_s": pl.Float64, "start_utc": pl.Datetime("us", "UTC")})
    fit = holding_times(empty, Assumed(mean_hold_s=90, hold_cv=2), seed=1)
    assert fit.count == 0
    assert (fit.distribution.mean(), fit.mean_s.low, fit.mean_s.high) == (90, 90, 90)


def test_calls_cut_off_by_the_end_do_not_shorten_the_mean() -> None:
    random = np.random.default_rng(3)
    at = np.sort(random.uniform(0, 40_000, 20_000))
    holding = LOGNORMAL.quantile(random.random(20_000))
    began = datetime(2025, 6, 2, tzinfo=UTC)
    calls = pl.DataFrame(
        {
            "start_utc": [began + timedelta(seconds=float(second)) for second in at],
            "status": "answered",
            "holding_s": np.where(at + holding < 40_000, holding, np.nan),
        }
    ).with_columns(pl.col("holding_s").fill_nan(None))
    known = known_durations(calls, "holding_s")
    begun = at < 40_000 - 4000
    assert 0.85 * 20_000 < len(known) < 20_000
    assert known.mean() == pytest.approx(holding[begun].mean(), rel=0.01)


def test_a_misfit_is_seen() -> None:
    seconds = MIXTURE.quantile(np.random.default_rng(4).random(10_000))
    assert misfit(seconds, Exponential(kind="exponential", mean_s=float(seconds.mean()))) > 0.1
    assert misfit(np.empty(0), EXPONENTIAL) == 0
