"""Say what each resource allows, in words and figures: which binds first as demand grows, and which after the raise.

The figures come from the exact formulas of `premises`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trunkproof.experiments.review.result import Limit, Resource
from trunkproof.experiments.review.theory.premises import (
    LINK_FULL_SHARE,
    MOST_CPU_SHARE,
    Premises,
    calls_of_ports,
    least,
)
from trunkproof.models.packets import STREAM_MBIT_PER_S

UNKNOWN = "not known to be limited"


def limits_of(premises: Premises) -> tuple[Limit, ...]:
    """Return what each resource allows, in the order in which they bind as demand grows at the present throttle."""
    request = premises.request
    now, requested = premises.passed(request.now_per_minute), premises.passed(request.requested_per_minute)
    found = [
        _limit(premises, resource, capacity, now, requested) for resource, capacity in premises.without_throttle.items()
    ]
    found.append(_throttle_limit(premises))
    return tuple(sorted(found, key=_capacity_of))


def _capacity_of(limit: Limit) -> float:
    return np.inf if limit.capacity_per_minute is None else limit.capacity_per_minute


def binding(limits: Sequence[Limit], throttle_per_minute: float | None = None) -> Resource | None:
    """Return the resource that binds first. `throttle_per_minute` replaces the throttle's capacity if given."""
    capacities = {limit.resource: _capacity_of(limit) for limit in limits}
    if throttle_per_minute is not None:
        capacities[Resource.THROTTLE] = throttle_per_minute
    first = min(capacities, key=lambda resource: capacities[resource])
    return first if np.isfinite(capacities[first]) else None


def _limit(premises: Premises, resource: Resource, capacity: float | None, now: float, requested: float) -> Limit:
    def used(passed: float) -> float:
        return 0.0 if capacity is None else passed / max(capacity, 1e-9)

    words, how = _described(premises)[resource]
    return Limit(resource, words, capacity, used(now), used(requested), used(premises.demand_per_minute), how)


def _throttle_limit(premises: Premises) -> Limit:
    request = premises.request
    by_interpretation = premises.throttles(request.now_per_minute)
    now, raised = least(by_interpretation.values()), premises.throttle(request.requested_per_minute)
    demand = premises.demand_per_minute
    each = ", ".join(f"{name}: {_amount(value)}" for name, value in by_interpretation.items())
    return Limit(
        resource=Resource.THROTTLE,
        capacity=f"{request.now_per_minute} calls per minute, {request.requested_per_minute} requested",
        capacity_per_minute=now,
        used_now=demand / max(now, 1e-9) if now is not None else 0.0,
        used_requested=demand / max(raised, 1e-9) if raised is not None else 0.0,
        used_wanted=demand / max(raised, 1e-9) if raised is not None else 0.0,
        how=f"exact formulas of the throttle with redials; {_mixed(premises)}; at present {each}; the least counts",
    )


def _described(premises: Premises) -> Mapping[Resource, tuple[str, str]]:
    request, per_call = premises.request, premises.per_call
    carrier, ports, machine = request.pop.carrier, request.pop.ports, request.pop.machine
    cores = min(machine.cores, machine.quota or np.inf)
    mixed = _mixed(premises)
    return {
        Resource.CHANNELS: (
            UNKNOWN if premises.channels is None else f"{premises.channels} channels",
            f"Erlang B with {per_call.channel_s:.0f} s of set-up, ringing and talk; {mixed}; conservative, as a "
            "throttle smooths what comes behind it",
        ),
        Resource.CARRIER_RATE: (
            UNKNOWN if carrier.calls_per_second is None else f"{carrier.calls_per_second} calls in any second",
            f"Erlang B with a hold of 1 s, as calls in any second are counted; {mixed}",
        ),
        Resource.PORTS: (
            f"{calls_of_ports(ports) * ports.legs:,} port pairs, {ports.legs} per call",
            f"Erlang B with {per_call.port_s:.0f} s, {ports.quarantine_s:g} s of quarantine among them; {mixed}",
        ),
        Resource.CORES: (
            f"{cores:g} core{'s' if cores != 1 else ''}" if premises.knows_machine else UNKNOWN,
            f"{1000 * per_call.cpu_s:.0f} ms of a core per call, by the calibration {request.pop.calibration}; at most "
            f"{100 * MOST_CPU_SHARE:.0f} % of the cores in the mean of the busy hour",
        ),
        Resource.BANDWIDTH: (
            UNKNOWN if request.bandwidth_mbit_per_s is None else f"{request.bandwidth_mbit_per_s:g} Mbit/s each way",
            f"{1000 * STREAM_MBIT_PER_S:.1f} kbit/s per call each way; calls at once exceed the link in "
            f"{100 * LINK_FULL_SHARE:g} % of the time; {mixed}",
        ),
    }


def _mixed(premises: Premises) -> str:
    busy = premises.busyness
    return f"averaged over days (CV {100 * busy.day_cv:.0f} %) and periods (CV {100 * busy.period_cv:.0f} %)"


def _amount(value: float | None) -> str:
    return "any number" if value is None else f"{value:.0f}"
