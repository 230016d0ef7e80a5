"""Answer the inverse question: how large must throttle, channels, ports, cores and link be for a given load?

Each size comes from the exact formula by which `premises` says what the resource allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import pdtrc

from trunkproof.experiments.review.result import Needed
from trunkproof.experiments.review.sweep.cells import with_limit
from trunkproof.experiments.review.theory.formulas import Share, servers_share, shares, throttle_share
from trunkproof.experiments.review.theory.premises import LINK_FULL_SHARE, MOST_CPU_SHARE, Premises
from trunkproof.models.packets import STREAM_MBIT_PER_S
from trunkproof.models.throttles.registry import ThrottleSettings

_THROTTLE_STEP = 10
"""Throttles are requested in steps of ten."""
_LARGEST_LIMIT = 1_000_000


def needed_for(premises: Premises, per_minute: float) -> Needed:
    """Return what that many fresh calls per minute in the busy hour need, beside the calls of the neighbours."""
    per_call, others = premises.per_call, premises.others
    busy = premises.attempts_without_refusals(per_minute)
    work = busy / 60 * per_call.cpu_s
    work *= premises.costs.idle_factor(work + others.cpu_cores)
    cores = (premises.costs.idle_share + others.cpu_cores + work) / MOST_CPU_SHARE
    ports = _servers(premises, per_minute, per_call.port_s, others.port_erlang) * premises.request.pop.ports.legs
    return Needed(
        per_minute=round(per_minute),
        throttle_per_minute=_throttle(premises, per_minute),
        channels=_servers(premises, per_minute, per_call.channel_s, others.erlang),
        ports=ports,
        cores=cores,
        bandwidth_mbit_per_s=_calls_on_link(premises, busy / 60 * per_call.audio_s) * STREAM_MBIT_PER_S,
    )


def _keeps(premises: Premises, share: Share, per_minute: float) -> bool:
    return premises.bounds.worst(*shares(share, per_minute, premises.callers, premises.busyness)) <= 1


def _servers(premises: Premises, per_minute: float, mean_s: float, others_erlang: float) -> int:
    def keeps(servers: int) -> bool:
        return _keeps(premises, servers_share(servers, mean_s, others_erlang), per_minute)

    return _smallest(keeps, max(1, math.floor(per_minute / 60 * mean_s + others_erlang)))


def _throttle(premises: Premises, per_minute: float) -> int:
    def keeps(interpretation: ThrottleSettings, tens: int) -> bool:
        limit = min(_LARGEST_LIMIT, tens * _THROTTLE_STEP)
        return limit == _LARGEST_LIMIT or _keeps(
            premises, throttle_share(with_limit(interpretation, limit)), per_minute
        )

    tens = max(1, math.floor(per_minute / _THROTTLE_STEP))
    for interpretation in premises.interpretations:
        if not keeps(interpretation, tens):
            tens = _smallest(lambda size, interpretation=interpretation: keeps(interpretation, size), tens)  # type: ignore[misc]
    return min(_LARGEST_LIMIT, tens * _THROTTLE_STEP)


def _smallest(keeps: Callable[[int], bool], begin: int) -> int:
    """Return the smallest size that keeps the targets. `begin` must be at most a little larger than it."""
    step, high = max(1, begin // 16), begin
    while not keeps(high):
        high, step = high + step, 2 * step
    low = max(0, begin // 2) if high == begin else high - step // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high


def _calls_on_link(premises: Premises, erlang: float) -> int:
    factors = np.outer(premises.busyness.days, premises.busyness.periods)

    def keeps(calls: int) -> bool:
        return float(np.mean(pdtrc(calls, erlang * factors))) <= LINK_FULL_SHARE

    return _smallest(keeps, max(1, math.floor(erlang)))
