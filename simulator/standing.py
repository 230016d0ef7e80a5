"""Draw the calls that are up when a stationary simulation begins: how many, and how long each still lasts.

This is exact for a loss system (Poisson arrivals, one trunk, no limit but channels): the number of calls is a truncated
Poisson number, and each call is at a random instant of its life. Behind a throttle it is an approximation, and the
warm-up corrects it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import pdtr, pdtrik

from trunkproof.models.arrays import FloatArray
from trunkproof.models.destinations import Destination
from trunkproof.models.distributions import Distribution
from trunkproof.models.rates import rate_path
from trunkproof.models.records import FarEnd
from trunkproof.models.streams import uniforms
from trunkproof.models.study import Study
from trunkproof.models.traffic import ReplayedArrivals, Traffic


class _Stage(NamedTuple):
    """A part of a call's life in which it holds its channel."""

    share_s: float
    """The share of calls that reach it, times its mean length: its Erlangs for one call per second."""
    lasts: Distribution
    followed_by: tuple[Distribution, ...]


def residual_times(study: Study, trunk: int) -> FloatArray:
    """Return, for each call of that trunk that is up at the beginning, the seconds until it releases its channel."""
    stages = _stages(study, trunk)
    shares_s = np.array([stage.share_s for stage in stages])
    number = _standing_calls(study, trunk, _carried_per_s(study, trunk) * float(shares_s.sum()))
    # A random instant falls into a stage in proportion to the time that the stage takes, and anywhere within it.
    bounds = np.cumsum(shares_s)
    found = np.searchsorted(bounds, _stream(study, trunk, "standing stage", number) * bounds[-1], side="right")
    within, length = (_stream(study, trunk, f"standing {name}", number) for name in ("residual", "length"))
    residual = np.zeros(number)
    for index, stage in enumerate(stages):
        here = found == index
        residual[here] = stage.lasts.residual_quantile(within[here], length[here])
        for order, later in enumerate(stage.followed_by):
            residual[here] += later.quantile(_stream(study, trunk, "standing later", number, order)[here])
    return residual


def _stages(study: Study, trunk: int) -> list[_Stage]:
    """Return every stage of every kind of call. The kinds are the outcomes."""
    traffic, setup = study.trunks[trunk].traffic, study.pop.carrier.setup
    where = traffic.where
    outbound = 1 - traffic.inbound_share if where.entries else 0.0
    lives = [
        (outbound * share, _life(entry, traffic, setup))
        for entry, share in zip(where.entries, where.shares, strict=True)
        if entry.far_end is not FarEnd.PLAN
    ]
    # What is left over goes to our own far ends, which play the plan.
    planned = 1.0 - sum(share for share, _ in lives)
    mix = traffic.outcomes
    lives += [
        (planned * max(0.0, mix.answered), (setup, traffic.ringing, traffic.holding)),
        (planned * mix.no_answer, (setup, traffic.ringing)),
        (planned * mix.abandoned, (setup, traffic.patience)),
        (planned * (mix.busy + sum(part.share for part in mix.rejected)), (setup,)),
    ]
    return [
        _Stage(share * stage.mean(), stage, life[order + 1 :])
        for share, life in lives
        for order, stage in enumerate(life)
    ]


def _life(entry: Destination, traffic: Traffic, setup: Distribution) -> tuple[Distribution, ...]:
    """Return the stages of a call to a listed number, as `models.draws` has them."""
    match entry.far_end:
        case FarEnd.REJECTS:
            return (setup, traffic.ringing) if entry.status == 480 else (setup,)
        case FarEnd.RINGS:
            return setup, traffic.patience
        case _:
            return setup, entry.ringing or traffic.ringing, entry.holding or traffic.holding


def _standing_calls(study: Study, trunk: int, erlangs: float) -> int:
    u = float(_stream(study, trunk, "standing calls", 1)[0])
    channels = study.pop.carrier.channels
    if channels is not None:
        # Trunks that share channels get equal parts of them.
        pools = study.channel_pools
        # A quantile of the truncated Poisson number is one of the whole number, at a share scaled by P(N <= channels).
        u *= float(pdtr(channels // pools.count(pools[trunk]), erlangs))
    return poisson_quantile(u, erlangs) if erlangs > 0 else 0


def poisson_quantile(share: float, mean: float) -> int:
    """Return the smallest count that a Poisson number does not exceed with probability `share`."""
    # As `scipy.stats` does it, which takes as long to load as all else that a simulation needs.
    count = math.ceil(pdtrik(share, mean))
    return count - 1 if count > 0 and pdtr(count - 1, mean) >= share else count


def _carried_per_s(study: Study, trunk: int) -> float:
    throttle, offered = study.trunks[trunk].throttle, _offered_per_s(study, trunk)
    count = study.count_of(throttle, trunk)
    # A shared limit meets the calls of all its trunks, and passes the same part of each.
    sharing = [
        index
        for index, other in enumerate(study.trunks)
        if index == trunk or (count is not None and study.count_of(other.throttle, index) == count)
    ]
    together = sum(_offered_per_s(study, index) for index in sharing)
    return throttle.passed(together, 1.0) * (offered / together if together else 0.0)


def _offered_per_s(study: Study, trunk: int) -> float:
    arrivals = study.trunks[trunk].traffic.arrivals
    if isinstance(arrivals, ReplayedArrivals):
        return 0.0
    path = rate_path(arrivals, study.duration_s, study.seed, trunk)
    return float(path.rate_per_minute(np.zeros(1))[0]) / 60


def _stream(study: Study, trunk: int, purpose: str, count: int, order: int = 0) -> FloatArray:
    return uniforms(study.seed, purpose, trunk, order, start=0, count=count)
