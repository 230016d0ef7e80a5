"""The calls that are up when a stationary simulation begins: how many, and how long each still lasts.

Exact for a loss system (Poisson arrivals, channels the only limit): a truncated Poisson number of calls with residual
holding times, whatever their distribution. Behind a throttle it is an approximation that the warm-up window mends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.rates import rate_path
from models.streams import uniforms
from models.study import Study
from models.throttle import NoThrottle
from models.traffic import ReplayedArrivals

FloatArray = NDArray[np.float64]
_SAMPLES = 8192
"""Draws that stand for the distribution of the time a channel is held."""


def residual_times(study: Study, trunk: int) -> FloatArray:
    """For each call of that trunk which is up at the beginning: seconds until it gives its channel back."""
    rate_per_s = _carried_per_s(study, trunk)
    held = _channel_times(study, trunk)
    number = _standing_calls(study, trunk, rate_per_s * float(held.mean()))
    if not number:
        return np.empty(0)
    # A random instant falls into a long call more often than into a short one, and anywhere within it.
    chosen = _stream(study, trunk, "standing call", number)
    within = _stream(study, trunk, "standing residual", number)
    ordered = np.cumsum(held)
    residual: FloatArray = within * held[np.searchsorted(ordered, chosen * ordered[-1])]
    return residual


def _standing_calls(study: Study, trunk: int, erlangs: float) -> int:
    u = float(_stream(study, trunk, "standing calls", 1)[0])
    channels = study.pop.carrier.channels
    if channels is not None:
        # The channels are shared by the PoP's trunks; each stands in them with its share.
        u *= float(stats.poisson.cdf(channels // len(study.trunks), erlangs))
    return int(stats.poisson.ppf(u, erlangs)) if erlangs > 0 else 0


def _carried_per_s(study: Study, trunk: int) -> float:
    settings = study.trunks[trunk]
    arrivals = settings.traffic.arrivals
    if isinstance(arrivals, ReplayedArrivals):
        return 0.0
    path = rate_path(arrivals, study.duration_s, study.seed, trunk)
    offered = float(path.rate_per_minute(np.zeros(1))[0]) / 60
    throttle = settings.throttle
    return offered if isinstance(throttle, NoThrottle) else min(offered, throttle.limit / throttle.window_s)


def _channel_times(study: Study, trunk: int) -> FloatArray:
    """Draws of set-up, ringing and holding time together, refused calls with their shorter ones included."""
    traffic = study.trunks[trunk].traffic
    answered = _stream(study, trunk, "standing outcome", _SAMPLES) < traffic.outcomes.answered
    parts = (study.pop.carrier.setup, traffic.ringing, traffic.holding)
    setup, ring, hold = (
        part.quantile(_stream(study, trunk, f"standing {name}", _SAMPLES))
        for name, part in zip(("setup", "ringing", "holding"), parts, strict=True)
    )
    total: FloatArray = setup + np.where(answered, ring + hold, 0.0)
    return total


def _stream(study: Study, trunk: int, purpose: str, count: int) -> FloatArray:
    return uniforms(study.seed, purpose, trunk, start=0, count=count)
