"""What a throttle protects: what happens to everybody if the customer uses all of it.

A throttle exists to protect carrier capacity and call quality. So it is judged at full use, and not at the customer's
demand of today, which may be a tenth of it. Where resources are scarce, full use is simulated. Where there is plenty of
everything, or the throttle is very large, the mean flow and Erlang B are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from trunkproof.experiments.review.judging import held_with
from trunkproof.experiments.review.request import Neighbour, Request
from trunkproof.experiments.review.result import Protection
from trunkproof.experiments.review.sweep.bench import Batch, BatchResult, run_batches
from trunkproof.experiments.review.sweep.cells import study_with
from trunkproof.experiments.review.sweep.quantities import Counted, NeighbourSum, SpanValues
from trunkproof.experiments.review.sweep.spans import Layout
from trunkproof.experiments.review.sweep.sweep import lead_s
from trunkproof.experiments.review.theory.premises import Premises, calls_of_ports
from trunkproof.models.costs import costs_of
from trunkproof.models.demand.fitting.alternatives import alternative
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.streams import generator
from trunkproof.models.study import Study
from trunkproof.models.teletraffic import erlang_b, poisson_tail
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.traffic import PoissonArrivals
from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor

PUSHED = 1.2
"""Attempts over the throttle in full use: it lets all of its worth pass, and refuses the rest."""
_REPETITIONS = 6
_SPAN_S = 3600.0
_NEVER = 1e-6
"""Blocking below this counts as none, without a simulation."""
_MOST_SIMULATED = 20_000.0
"""Attempts per minute up to which full use is simulated. Beyond, chance does not matter, and mean flows are used."""


def protections(
    request: Request, fit: Fit, premises: Premises, limits: Sequence[int], executor: Executor | None = None
) -> tuple[Protection, ...]:
    """Return what each throttle protects, in the order of `limits`.

    Args:
        request: neighbours, channels, ports, machine and what to protect.
        fit: the customer's callers.
        premises: what a call takes of each resource.
        limits: throttles in calls per minute, ascending.
        executor: runs the simulations; None runs them in this process.
    """
    simulated = [limit for limit in limits if not _is_easy(request, premises, limit) and _is_small(request, limit)]
    tasks = [_batch(request, fit, limit, number) for limit in simulated for number in range(_REPETITIONS)]
    # Results come in the order of the tasks: all repetitions of one throttle together.
    results = iter(run_batches(tasks, executor))
    found = {limit: _found(request, limit, _next(results)) for limit in simulated}
    return tuple(found.get(limit) or _by_flow(request, premises, limit) for limit in limits)


def _next(results: Iterator[BatchResult]) -> list[SpanValues]:
    return [next(results).values[0] for _ in range(_REPETITIONS)]


@dataclass(frozen=True)
class _Flow:
    """Erlangs offered to a pool of channels or ports when throttles are used to the full."""

    erlang: float
    servers: int

    @property
    def blocked(self) -> float:
        return (
            # Erlang B takes one step per server. With so many, chance hardly matters, and what exceeds them is blocked.
            erlang_b(self.erlang, self.servers) if self.servers < 50_000 else max(0.0, 1 - self.servers / self.erlang)
        )


def _flows(request: Request, premises: Premises, limit: int) -> list[_Flow]:
    """Return the flows on channels and on ports, with the calls of the customer and its neighbours together."""
    carrier, per_call = request.pop.carrier, premises.per_call
    taken = [(other, _offered(request, other)) for other in request.neighbours]
    setup_s = carrier.setup.mean()
    others_s = sum(rate / 60 * (other.mean_hold_s + setup_s) for other, rate in taken)
    # Ports rest in quarantine after each call. Channels do not.
    others_port_s = others_s + sum(rate for _, rate in taken) / 60 * request.pop.ports.quarantine_s
    ports = _Flow(limit / 60 * per_call.port_s + others_port_s, calls_of_ports(request.pop.ports))
    if carrier.channels is None:
        return [ports]
    return [_Flow(limit / 60 * per_call.channel_s + others_s, carrier.channels), ports]


def _offered(request: Request, other: Neighbour) -> float:
    """Return a neighbour's calls per minute: those of its busy hour, or a little more than its throttle admits."""
    throttle = other.throttle
    if request.protects.neighbours_use == "their_demand" or not throttle.is_asked:
        return other.per_minute
    # A throttle is a promise: every neighbour may use all of its own at the same time.
    return max(other.per_minute, PUSHED * throttle.per_minute)


def _is_easy(request: Request, premises: Premises, limit: int) -> bool:
    """Tell whether there is so much of every resource that no simulation is needed."""
    # On a known machine voice quality depends on the load of its cores, which no mean flow shows.
    known = premises.knows_machine or request.pop.carrier.calls_per_second is not None
    return not known and all(flow.blocked < _NEVER for flow in _flows(request, premises, limit))


def _is_small(request: Request, limit: int) -> bool:
    others = sum(_offered(request, other) for other in request.neighbours)
    return PUSHED * (limit + others) <= _MOST_SIMULATED


def _batch(request: Request, fit: Fit, limit: int, number: int) -> Batch:
    lead = lead_s(request, fit)
    layout = Layout(1, lead, _SPAN_S)
    callers = alternative(fit, float(fit.days.counts.sum()), generator(request.seed, "callers in full use", number))
    seed = int(generator(request.seed, "full use", number).integers(2**62))
    pushed = PoissonArrivals(kind="poisson", rate_per_minute=PUSHED * limit)
    # Pushed beyond its limit, a fixed window passes the limit in every minute: that is full use.
    study = study_with(request, callers, pushed, layout.duration_s, seed, FixedWindow(limit=limit))
    return Batch(_pushed(study, request), layout, (FixedWindow(limit=limit),), request.engine)


def _pushed(study: Study, request: Request) -> Study:
    """Return the study with the neighbours' calls at full use."""
    trunks = list(study.trunks)
    for index, other in enumerate(request.neighbours, 1):
        arrivals = PoissonArrivals(kind="poisson", rate_per_minute=_offered(request, other))
        traffic = trunks[index].traffic.model_copy(update={"arrivals": arrivals})
        trunks[index] = trunks[index].model_copy(update={"traffic": traffic})
    return study.model_copy(update={"trunks": tuple(trunks)})


def _found(request: Request, limit: int, values: Sequence[SpanValues]) -> Protection:
    names = [other.name for other in request.neighbours]
    too_fast = _over_rate(request, limit)

    def blocked(trunk: str | None) -> Ranged:
        keys = [counted.value if trunk is None else NeighbourSum(counted, trunk) for counted in Counted]
        shares = []
        for one in values:
            attempts, refused, without_room = (one[key] for key in keys)
            met = float(without_room.sum())
            passed = float((attempts - refused).sum()) + met
            # Two hurdles, taken as independent: a call has to find room, and to come within the carrier's rate.
            shares.append(1 - (1 - (met / passed if passed else 0.0)) * (1 - too_fast))
        return _ranged(shares, most=1.0)

    def mean(name: str) -> Ranged:
        return _ranged([float(np.nanmean(one[name])) if not np.isnan(one[name]).all() else np.nan for one in values])

    # With neighbours it is they who are protected. Alone, the customer's own calls show what is short.
    by_trunk = {name: blocked(name) for name in names} or {request.trunk: blocked(None)}
    # By the upper end: it is that of the trunk which may be worst off.
    worst = max(by_trunk.values(), key=lambda share: share.high)
    quality = mean("mos_p5")
    return Protection(
        limit, by_trunk, mean("peak_channels"), mean("cpu_share"), quality, worst, _holds(request, worst, quality)
    )


def _over_rate(request: Request, limit: int) -> float:
    """Return the share of all Poisson calls that exceeds the carrier's limit on calls per second."""
    allowed = request.pop.carrier.calls_per_second
    if allowed is None:
        return 0.0
    mean = (PUSHED * limit + sum(_offered(request, other) for other in request.neighbours)) / 60
    # E[(X - c)+] of a Poisson X of that mean.
    beyond = mean * poisson_tail(mean, allowed) - allowed * poisson_tail(mean, allowed + 1)
    return max(0.0, beyond / mean)


def _holds(request: Request, worst: Ranged, quality: Ranged) -> bool | None:
    """Tell whether calls of others find room and sound as good as asked: the same cores carry everybody's audio."""
    most, least = request.protects.neighbours_blocked_max, request.quality.mos_p5_min
    if worst.low > most or (least is not None and quality.high < least):
        return False
    return True if worst.high <= most and (least is None or not quality.low < least) else None


def _by_flow(request: Request, premises: Premises, limit: int) -> Protection:
    """Compute the protection from mean flows and Erlang B."""
    flows = _flows(request, premises, limit)
    share = max(_over_rate(request, limit), *(flow.blocked for flow in flows))
    worst = Ranged(share, share, share)
    names = [other.name for other in request.neighbours] or [request.trunk]
    channels = min(flows[0].erlang, flows[0].servers)
    cores = costs_of(request.pop).idle_share + premises.others.cpu_cores + limit / 60 * premises.per_call.cpu_s
    good = mos(r_factor(MOUTH_TO_EAR_MS, 0.0))
    return Protection(
        limit,
        dict.fromkeys(names, worst),
        Ranged(channels, channels, channels),
        Ranged(cores, cores, cores),
        Ranged(good, good, good),
        worst,
        held_with(1.0 if share <= request.protects.neighbours_blocked_max else 0.0, request.confidence),
    )


def _ranged(values: Sequence[float], most: float = np.inf) -> Ranged:
    """Return the mean over repetitions and its 95 % range (Student's t)."""
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return Ranged(np.nan, np.nan, np.nan)
    mean, deviation = float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else 0.0
    reach = float(stdtrit(max(len(known) - 1, 1), 0.975)) * deviation / np.sqrt(len(known))
    return Ranged(mean, max(0.0, mean - reach), min(most, mean + reach))
