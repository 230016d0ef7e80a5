"""Estimate how long callers wait before they try again, from the delays seen within a window.

Delays have long tails, and the window cuts them off. So a truncated distribution is fitted. Its tail beyond the window
tells how many redials came later.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize
from scipy.special import log_ndtr, ndtr

from trunkproof.models.arrays import FloatArray
from trunkproof.models.distributions import Distribution, Empirical, Exponential, Lognormal

_KS_GOOD = 0.03
_QUANTILES = 100
_MOST_FITTED = 5000
_LEAST_S = 0.25
"""Value of a delay of 0: delays are often whole seconds, and 0 means less than half a second."""
_SIGMAS = (0.02, 2.5)
_BINS = 40


def own_delays(waits_s: FloatArray, window_s: float, coincident: float) -> FloatArray:
    """Return the delays of redials alone: remove the share `coincident`, which is spread evenly over the window."""
    waits_s = np.sort(np.maximum(waits_s, 0.0))
    if coincident <= 0 or not len(waits_s):
        return waits_s
    place = np.minimum((waits_s / window_s * _BINS).astype(np.int64), _BINS - 1)
    seen = np.bincount(place, minlength=_BINS)
    # Coincidences come at any time alike, so each of the equal parts of the window loses the same number.
    meant = np.maximum(0.0, 1 - coincident * len(waits_s) / _BINS / np.maximum(seen, 1))[place]
    cumulative = np.cumsum(meant)
    # Delays are kept at even steps of the weight that is left: the same for every seed.
    wanted = np.arange(int(cumulative[-1])) + 0.5
    return waits_s[np.minimum(np.searchsorted(cumulative, wanted), len(waits_s) - 1)]


def fit_delay(waits_s: FloatArray, window_s: float) -> tuple[Distribution, float]:
    """Return the simplest distribution that fits, and its share within the window.

    It is an exponential or lognormal distribution truncated at the window. If none fits, it is the delays seen, which
    tell nothing about later redials.
    """
    ordered = np.sort(np.maximum(waits_s, 0.0))
    mean_s = max(_untruncated_mean(float(ordered.mean()), window_s), 1e-3)
    candidates: list[tuple[Distribution, float]] = [
        (Exponential(kind="exponential", mean_s=mean_s), float(-math.expm1(-window_s / mean_s)))
    ]
    # A dialler that always waits the same time has no lognormal: its deviation would go to 0.
    if float(ordered.std()) > 0.01 * float(ordered.mean()):
        candidates.append(_lognormal(ordered, window_s))
    grid = (np.arange(2000) + 0.5) / 2000
    for candidate, within in candidates:
        # Half a second is allowed for, because delays are rounded to whole seconds.
        model_s = candidate.quantile(grid * within)
        share = np.searchsorted(ordered, model_s + 0.5, side="right") / len(ordered)
        least = np.searchsorted(ordered, model_s - 0.5, side="left") / len(ordered)
        gap = np.maximum(np.maximum(grid - share, least - grid), 0.0).max()
        # 1.63 / sqrt(n) is the critical value of Kolmogorov and Smirnov at 1 %. With many delays any law exceeds it, so
        # a gap of 3 % counts as good.
        if gap < max(_KS_GOOD, 1.63 / np.sqrt(len(ordered))) and ordered[-1] > 0:
            return candidate, within
    values = np.quantile(ordered, (np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    return Empirical(kind="empirical", values_s=tuple(map(float, values))), 1.0


def _untruncated_mean(mean_s: float, window_s: float) -> float:
    """Return the mean of an exponential distribution whose part below the window has this mean."""
    estimate = mean_s
    for _ in range(50):
        beyond = np.exp(-window_s / max(estimate, 1e-9))
        # A mean beyond the window can hardly be told from its part below it: without a bound, noise would make it
        # infinite.
        estimate = min(mean_s + window_s * float(beyond / (1 - beyond)), 2 * window_s)
    return estimate


def _lognormal(ordered_s: FloatArray, window_s: float) -> tuple[Distribution, float]:
    """Fit a lognormal distribution truncated at the window, by maximum likelihood."""
    count = min(len(ordered_s), _MOST_FITTED)
    thinned = ordered_s[((np.arange(count) + 0.5) / count * len(ordered_s)).astype(np.int64)]
    # Every n-th of the sorted delays keeps their distribution, and the search for the maximum fast.
    logs, edge = np.log(np.maximum(thinned, _LEAST_S)), math.log(window_s)

    def misfit(at: FloatArray) -> float:
        sigma = float(np.clip(math.exp(at[1]), *_SIGMAS))
        scores = (logs - at[0]) / sigma
        # The negative log likelihood of a delay, given that it lies within the window: later ones were never seen.
        return float((scores**2).mean() / 2 + math.log(sigma) + log_ndtr((edge - at[0]) / sigma))

    start = [float(logs.mean()), math.log(max(float(logs.std()), _SIGMAS[0]))]
    found = optimize.minimize(misfit, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-7})
    mu, sigma = min(float(found.x[0]), edge), float(np.clip(math.exp(found.x[1]), *_SIGMAS))
    mean_s, cv = math.exp(mu + sigma**2 / 2), math.sqrt(math.expm1(sigma**2))
    return Lognormal(kind="lognormal", mean_s=mean_s, cv=cv), float(ndtr((edge - mu) / sigma))
