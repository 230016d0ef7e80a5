"""Fit a distribution to durations: exponential, lognormal or a mixture of two lognormals, by Akaike's criterion.

Calls near the end of a history are left out: the history has only the short ones among them.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from scipy import stats

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.result import Alternative, DurationFit, Ranged
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.history.table import CallStatus
from trunkproof.models.distributions import Constant, Distribution, Exponential, Lognormal, Mixture, MixturePart

_MOST_FITTED = 200_000
_QQ_POINTS = 99
_GRID = 100_000
_CLEARLY = 10.0
"""A more complicated distribution is preferred only if its criterion is lower by this (Burnham and Anderson)."""
_EM_STEPS = 300
_LEAST = 30


def holding_times(calls: pl.DataFrame, assumed: Assumed, seed: int) -> DurationFit:
    """Fit the time from answer to end; as assumed where fewer than 30 are known."""
    fit = fit_durations(known_durations(calls, "holding_s"), seed)
    if fit is not None:
        return fit
    taken = Lognormal(kind="lognormal", mean_s=assumed.mean_hold_s, cv=assumed.hold_cv)
    mean = Ranged(taken.mean(), taken.mean(), taken.mean())
    return DurationFit(taken, mean, (), np.empty(0), np.empty(0), 0)


def known_durations(calls: pl.DataFrame, column: str) -> FloatArray:
    """Return the durations `column` of answered calls, without those near the end of the history."""
    answered = calls.filter((pl.col("status") == CallStatus.ANSWERED.value) & pl.col(column).is_not_null())
    if answered.is_empty():
        return np.empty(0)
    first, last = calls["start_utc"].min(), calls["start_utc"].max()
    long_s = float(answered[column].quantile(0.999) or 0.0)
    # Of the last calls only the short ones have ended and are in the history. At most a tenth of the history is cut.
    cut_s = min(long_s, (last - first).total_seconds() / 10)  # type: ignore[operator, union-attr]
    seen = answered.filter(pl.col("start_utc") <= pl.lit(last) - pl.duration(microseconds=int(cut_s * 1e6)))
    return seen[column].to_numpy()


def fit_durations(seconds: FloatArray, seed: int) -> DurationFit | None:
    """Fit the distribution of some durations; None for fewer than 30.

    It is scaled to their mean, because the mean decides how many channels are needed.
    """
    if len(seconds) < _LEAST:
        return None
    random = np.random.default_rng([seed, 2])
    mean = float(seconds.mean())
    # From all durations, also where only a sample is fitted below.
    reach = 1.96 * float(seconds.std()) / math.sqrt(len(seconds))
    sample = random.choice(seconds, _MOST_FITTED, replace=False) if len(seconds) > _MOST_FITTED else seconds
    probabilities = (np.arange(_QQ_POINTS) + 0.5) / _QQ_POINTS
    tried = [Alternative(Constant(value_s=mean), 0.0)]
    if sample.std() > 1e-6 * max(mean, 1e-9):
        tried = _alternatives(_smoothed(sample, random))
    best = min(tried, key=lambda one: one.aic)
    # The simplest comes first, so it is taken unless another one is clearly better.
    chosen = next(one for one in tried if one.aic < best.aic + _CLEARLY)
    # A fit by likelihood may miss the mean by some percent, and channels with it.
    distribution = with_mean(chosen.distribution, mean)
    return DurationFit(
        distribution=distribution,
        mean_s=Ranged(mean, mean - reach, mean + reach),
        alternatives=(chosen, *sorted((one for one in tried if one is not chosen), key=lambda one: one.aic)),
        observed_quantiles_s=np.quantile(sample, probabilities),
        fitted_quantiles_s=np.quantile(spread_out(distribution), probabilities),
        count=len(seconds),
    )


def spread_out(distribution: Distribution) -> FloatArray:
    """Return durations at evenly spaced quantiles of the distribution, ascending."""
    return np.sort(distribution.quantile((np.arange(_GRID) + 0.5) / _GRID))


def misfit(seconds: FloatArray, distribution: Distribution) -> float:
    """Return the Kolmogorov-Smirnov distance, with an allowance for durations in whole seconds."""
    if len(seconds) == 0:
        return 0.0
    seen, model = np.sort(seconds), spread_out(distribution)
    at = np.quantile(model, (np.arange(1000) + 0.5) / 1000)
    share = np.searchsorted(model, at, side="right") / len(model)
    above = share - np.searchsorted(seen, at + 0.5, side="right") / len(seen)
    below = np.searchsorted(seen, at - 0.5, side="left") / len(seen) - share
    return float(max(above.max(), below.max(), 0.0))


def _smoothed(sample: FloatArray, random: np.random.Generator) -> FloatArray:
    """Spread whole seconds over the second around them, and make 0 positive, so that logarithms exist."""
    if (sample == np.round(sample)).mean() > 0.99:
        # Otherwise the likelihood would reward a narrow peak on each whole second.
        sample = np.abs(sample + random.uniform(-0.5, 0.5, len(sample)))
    return np.maximum(sample, 0.01)


def _alternatives(seconds: FloatArray) -> list[Alternative]:
    """Return the fitted alternatives, the simplest first."""
    logs = np.log(seconds)
    mean = float(seconds.mean())
    exponential = float(stats.expon.logpdf(seconds, scale=mean).sum())
    mu, sigma = float(logs.mean()), max(float(logs.std()), 1e-3)
    lognormal = float((stats.norm.logpdf(logs, mu, sigma) - logs).sum())
    tried = [
        # Akaike's criterion is 2 k - 2 log L, with k = 1, 2 and 5 parameters.
        Alternative(Exponential(kind="exponential", mean_s=mean), 2 - 2 * exponential),
        Alternative(_lognormal(mu, sigma), 4 - 2 * lognormal),
    ]
    weights, mus, sigmas, likelihood = _two_normals(logs)
    parts = tuple(
        MixturePart(weight=float(weight), of=_lognormal(float(m), float(s)))
        for weight, m, s in zip(weights, mus, sigmas, strict=True)
    )
    # A part of almost no weight sits on a few odd calls.
    if weights.min() > 0.005:
        mixture = Mixture(kind="mixture", parts=parts)
        # The sum of the logs turns densities of logs into densities of seconds, as those of the others are.
        tried.append(Alternative(mixture, 10 - 2 * (likelihood - float(logs.sum()))))
    return tried


def _lognormal(mu: float, sigma: float) -> Lognormal:
    cv = min(max(math.sqrt(math.expm1(sigma**2)), 1e-3), 1000.0)
    return Lognormal(kind="lognormal", mean_s=math.exp(mu + sigma**2 / 2), cv=cv)


def _two_normals(logs: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Fit two normals on a fine histogram by the EM algorithm: weights, means, deviations, log likelihood."""
    # 2,000 cells of equal weight instead of all durations: the EM algorithm takes hundreds of passes.
    edges = np.quantile(logs, np.linspace(0, 1, 2001))
    values, counts = np.unique(np.searchsorted(edges, logs), return_counts=True)
    points = np.bincount(np.searchsorted(values, np.searchsorted(edges, logs)), weights=logs) / counts
    mus = np.quantile(points, [0.2, 0.7])
    sigmas, weights = np.full(2, max(float(logs.std()), 1e-3)), np.array([0.5, 0.5])
    for _ in range(_EM_STEPS):
        density = weights * stats.norm.pdf(points[:, None], mus, sigmas)
        belongs = density / np.maximum(density.sum(axis=1, keepdims=True), 1e-300) * counts[:, None]
        mass = np.maximum(belongs.sum(axis=0), 1e-9)
        moved = (belongs * points[:, None]).sum(axis=0) / mass
        # A floor: a part that shrinks onto a single value would have an infinite likelihood.
        sigmas = np.sqrt(np.maximum((belongs * (points[:, None] - moved) ** 2).sum(axis=0) / mass, 1e-4))
        done = float(np.abs(moved - mus).max()) < 1e-7
        mus, weights = moved, mass / mass.sum()
        if done:
            break
    likelihood = np.log(np.maximum((weights * stats.norm.pdf(logs[:, None], mus, sigmas)).sum(axis=1), 1e-300)).sum()
    return weights, mus, sigmas, float(likelihood)


def with_mean(distribution: Distribution, mean_s: float) -> Distribution:
    """Return a distribution of the same shape with another mean."""
    if isinstance(distribution, Mixture):
        factor = mean_s / distribution.mean()
        parts = tuple(MixturePart(weight=one.weight, of=_scaled(one.of, factor)) for one in distribution.parts)
        return Mixture(kind="mixture", parts=parts)
    return _scaled(distribution, mean_s / distribution.mean()) if distribution.mean() > 0 else distribution


def _scaled(distribution: Distribution, factor: float) -> Distribution:
    if isinstance(distribution, Exponential | Lognormal):
        return distribution.model_copy(update={"mean_s": distribution.mean_s * factor})
    return distribution
