"""Samples for the quantile plots: gaps and holding times of simulated records, transformed to uniforms in (0, 1)."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from scipy import stats

from trunkproof.experiments.verification.cases import HOLDING, question
from trunkproof.models.arrays import FloatArray
from trunkproof.models.study import Study
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.traffic import Arrivals, DiurnalArrivals, PoissonArrivals, RampArrivals
from trunkproof.simulator.run import simulate

_RATE = 600.0
_HOURLY = tuple(_RATE * (1 + 0.8 * math.sin(2 * math.pi * hour / 24)) for hour in range(24))
_OPEN = NoThrottle(policy="none")


def arrival_gaps(count: int) -> dict[str, FloatArray]:
    """Return the first `count` gaps between arrivals as uniforms, at a constant, a rising and a daily rate.

    Time is rescaled by the expected number of calls. Then gaps are exponential with mean 1 at any rate (Brown et al.
    2002, "The time-rescaling theorem"), and their distribution function makes them uniform.
    """
    # A tenth longer than expected: chance cannot leave fewer than `count` calls.
    duration_s = 60 * 1.1 * count / _RATE + 60
    kinds: dict[str, Arrivals] = {
        "a constant rate": PoissonArrivals(kind="poisson", rate_per_minute=_RATE),
        "a ramp": RampArrivals(kind="ramp", from_per_minute=_RATE / 2, to_per_minute=1.5 * _RATE),
        "a day": DiurnalArrivals(kind="diurnal", hourly_per_minute=_HOURLY, seconds_per_hour=duration_s / 24),
    }
    return {kind: -np.expm1(-_gaps(arrivals, duration_s, count)) for kind, arrivals in kinds.items()}


def _gaps(arrivals: Arrivals, duration_s: float, count: int) -> FloatArray:
    study = question(arrivals.kind, _OPEN, _RATE, 1)
    traffic = study.trunks[0].traffic.model_copy(update={"arrivals": arrivals})
    trunk = study.trunks[0].model_copy(update={"traffic": traffic})
    records = simulate(study.model_copy(update={"trunks": (trunk,), "duration_s": duration_s}))
    instants = records["intended_s"].to_numpy()[: count + 1]
    return np.diff(_expected_calls(arrivals, instants, duration_s))


def _expected_calls(arrivals: Arrivals, instants: FloatArray, duration_s: float) -> FloatArray:
    """Return the integral of the rate from 0 to each instant, by a formula for each kind of arrivals."""
    match arrivals:
        case RampArrivals(from_per_minute=begin, to_per_minute=end):
            return (begin * instants + (end - begin) * instants**2 / (2 * duration_s)) / 60
        case DiurnalArrivals(hourly_per_minute=hourly, seconds_per_hour=hour_s):
            expected = np.concatenate([[0.0], np.cumsum(hourly)]) * hour_s / 60
            return np.interp(instants, np.arange(25) * hour_s, expected)
        case _:
            return _RATE * instants / 60


def holding_times(count: int) -> dict[str, FloatArray]:
    """Return the holding times of `count` calls of each kind as uniforms."""
    return {kind: _cdf(kind, _held(kind, count)) for kind in ("exponential", "lognormal", "mixture")}


def _held(kind: str, count: int) -> FloatArray:
    study: Study = question(f"{kind} holding", _OPEN, _RATE, round(1.1 * count) + 600, holding=HOLDING[kind])
    records = simulate(study).filter(pl.col("answered_s").is_not_null())
    return (records["bye_s"] - records["answered_s"]).to_numpy()[:count]


def _cdf(kind: str, held_s: FloatArray) -> FloatArray:
    """Apply the distribution functions of `cases.HOLDING`, written again here by SciPy: mean 60 s."""
    match kind:
        case "exponential":
            return stats.expon.cdf(held_s, scale=60)
        case "lognormal":
            return _lognormal(held_s, 60, 1.5)
        case _:
            return (stats.expon.cdf(held_s, scale=15) + _lognormal(held_s, 105, 0.5)) / 2


def _lognormal(held_s: FloatArray, mean_s: float, cv: float) -> FloatArray:
    sigma = math.sqrt(math.log(1 + cv * cv))
    return stats.lognorm.cdf(held_s, sigma, scale=mean_s * math.exp(-sigma * sigma / 2))
