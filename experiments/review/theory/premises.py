"""Hold the inputs of the exact formulas, and compute what each resource allows by itself.

What a resource allows is its capacity, in fresh calls per minute in the busy hour. Inputs are those of the fit; a
tornado changes one of them at a time. Only the sweep can say whether all limits together keep the targets, and how sure
that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import pdtrc

from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Resource
from trunkproof.experiments.review.sweep.cells import with_limit
from trunkproof.experiments.review.theory.formulas import (
    Bounds,
    Busyness,
    Callers,
    behind,
    largest_fresh,
    servers_share,
    shares,
    throttle_share,
)
from trunkproof.experiments.review.theory.per_call import Others, PerCall
from trunkproof.models.costs import Costs, costs_of
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.packets import STREAM_MBIT_PER_S
from trunkproof.models.study import MediaPorts, Quality
from trunkproof.models.throttles.registry import ThrottleSettings

MOST_CPU_SHARE = 0.8
"""Share of the cores or the quota in the mean of the busy hour. The rest is for peaks and what is not modelled."""
LINK_FULL_SHARE = 0.001
"""Share of the time in which the calls at once may exceed what the link carries."""
_DEFAULT_SHARE = 0.01
"""Bound on refused attempts if the request bounds neither refused attempts nor lost customers."""


def bounds_of(quality: Quality) -> Bounds:
    """Return the bounds that a limit has to keep."""
    refused, lost = quality.refused_share_max, quality.customers_lost_share_max
    return Bounds(_DEFAULT_SHARE, None) if refused is None and lost is None else Bounds(refused, lost)


@dataclass(frozen=True)
class Premises:
    """The inputs of the formulas. A tornado changes one of them at a time."""

    request: Request
    interpretations: tuple[ThrottleSettings, ...]
    callers: Callers
    busyness: Busyness
    per_call: PerCall
    others: Others
    costs: Costs
    channels: int | None
    demand_per_minute: float
    """Fresh calls in the busy hour at the planning horizon."""

    @classmethod
    def of(cls, request: Request, fit: Fit, demand_per_minute: float, busyness: Busyness) -> Premises:
        """Return the premises with the values of the fit. `busyness` is that of the judged periods."""
        costs, traffic = costs_of(request.pop), fit.traffic().model_copy(update={"tls": request.tls})
        return cls(
            request=request,
            interpretations=request.interpretations,
            callers=Callers.of(traffic),
            busyness=busyness,
            per_call=PerCall.of(traffic, request.pop, costs),
            others=Others.of(request, costs),
            costs=costs,
            channels=request.pop.carrier.channels,
            demand_per_minute=demand_per_minute,
        )

    @property
    def knows_machine(self) -> bool:
        """Return whether the request states the machine. A study's default does not count."""
        return bool(self.request.pop.machine.model_fields_set & {"cores", "quota"})

    @property
    def bounds(self) -> Bounds:
        """Return the bounds of the request's quality."""
        return bounds_of(self.request.quality)

    @cached_property
    def without_throttle(self) -> dict[Resource, float | None]:
        """Return the capacity of every resource but the throttle, in fresh calls per minute. None: no limit."""
        return {
            Resource.CHANNELS: self._channels(),
            Resource.CARRIER_RATE: self._carrier_rate(),
            Resource.PORTS: self._ports(),
            Resource.CORES: self._cores(),
            Resource.BANDWIDTH: self._bandwidth(),
        }

    def throttles(self, limit_per_minute: int) -> dict[str, float | None]:
        """Return the capacity of the throttle by interpretation."""
        return {
            interpretation.describe(): largest_fresh(
                throttle_share(interpretation), self.callers, self.busyness, self.bounds
            )
            for interpretation in (
                with_limit(interpretation, limit_per_minute) for interpretation in self.interpretations
            )
        }

    def throttle(self, limit_per_minute: int) -> float | None:
        """Return the capacity of the throttle under the strictest interpretation."""
        return least(self.throttles(limit_per_minute).values())

    def allowed(self, limit_per_minute: int) -> float | None:
        """Return the capacity of the whole, as if each limit acted by itself."""
        return least([self.throttle(limit_per_minute), *self.without_throttle.values()])

    @cached_property
    def guard(self) -> float | None:
        """Return the largest throttle that every other resource can carry at full use. None: any.

        A throttle that is always full evens the load out, so days and periods do not count here.
        """
        return least(replace(self, busyness=Busyness()).without_throttle.values())

    def lost(self, interpretation: ThrottleSettings, limit_per_minute: int, per_minute: float) -> float:
        """Return the share of customers lost at another demand, by throttle and channels together."""
        share = throttle_share(with_limit(interpretation, limit_per_minute))
        if self.channels is not None:
            share = behind(share, servers_share(self.channels, self.per_call.channel_s, self.others.erlang))
        return shares(share, per_minute, self.callers, self.busyness)[1]

    def lost_at(self, interpretation: ThrottleSettings, limit_per_minute: int, demands: Sequence[float]) -> list[float]:
        """Return `lost` at each of these demands: a task of a worker."""
        return [self.lost(interpretation, limit_per_minute, per_minute) for per_minute in demands]

    def passed(self, limit_per_minute: int) -> float:
        """Return the fresh calls per minute whose callers get past the throttle, under the first interpretation."""
        share = throttle_share(with_limit(self.interpretations[0], limit_per_minute))
        _, lost = shares(share, self.demand_per_minute, self.callers, self.busyness)
        return self.demand_per_minute * (1 - lost)

    def _pool(self, servers: int, mean_s: float, others_erlang: float, bounds: Bounds) -> float | None:
        share = servers_share(servers, mean_s, others_erlang)
        return largest_fresh(share, self.callers, self.busyness, bounds)

    def _channels(self) -> float | None:
        if self.channels is None:
            return None
        return self._pool(self.channels, self.per_call.channel_s, self.others.erlang, self.bounds)

    def _ports(self) -> float | None:
        return self._pool(
            calls_of_ports(self.request.pop.ports), self.per_call.port_s, self.others.port_erlang, self.bounds
        )

    def _carrier_rate(self) -> float | None:
        allowed = self.request.pop.carrier.calls_per_second
        if allowed is None:
            return None
        # The carrier's refusals are not the trunk's: they are lost customers only.
        bounds = replace(self.bounds, refused=None) if self.bounds.lost is not None else self.bounds
        share = servers_share(allowed, 1.0, self.others.per_minute / 60)
        return largest_fresh(share, self.callers.at_carrier, self.busyness, bounds)

    def attempts_without_refusals(self, fresh_per_minute: float) -> float:
        """Return the attempts per minute if the trunk refuses nothing, with redials after failures at the far side."""
        return fresh_per_minute / (1 - self.callers.again_share)

    def _fresh(self, attempts_per_minute: float) -> float:
        """Return the fresh calls behind that many attempts if the trunk refuses nothing."""
        return attempts_per_minute * (1 - self.callers.again_share)

    def _cores(self) -> float | None:
        if not self.knows_machine:
            return None
        machine = self.request.pop.machine
        free = MOST_CPU_SHARE * min(machine.cores, machine.quota or np.inf)
        free -= self.costs.idle_share + self.others.cpu_cores
        per_call_s = self.per_call.cpu_s * self.costs.idle_factor(max(0.0, free))
        return self._fresh(max(0.0, free) * 60 / per_call_s)

    def _bandwidth(self) -> float | None:
        if self.request.bandwidth_mbit_per_s is None:
            return None
        calls = int(self.request.bandwidth_mbit_per_s / STREAM_MBIT_PER_S)
        return self._fresh(60 * erlang_within(calls, self.busyness) / max(self.per_call.audio_s, 1e-9))


def erlang_within(calls: int, busyness: Busyness) -> float:
    """Return the Erlangs whose calls at once exceed `calls` in 0.1 % of the time (Poisson, given day and period)."""
    if calls < 1:
        return 0.0
    factors = np.outer(busyness.days, busyness.periods)

    def excess(erlang: float) -> float:
        return float(np.mean(pdtrc(calls, erlang * factors))) - LINK_FULL_SHARE

    return float(brentq(excess, 0.0, 2.0 * calls + 10))


def calls_of_ports(ports: MediaPorts) -> int:
    """Return how many calls the pool holds at once."""
    return len(range(ports.low + ports.low % 2, ports.high, 2)) // ports.legs


def least(capacities: Iterable[float | None]) -> float | None:
    """Return the smallest capacity. None: nothing limits."""
    return min((capacity for capacity in capacities if capacity is not None), default=None)
