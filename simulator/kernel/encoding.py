"""Write a study's settings as numbers into the memory of the compiled model, with no call under way yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from trunkproof.models.arrays import IntArray
from trunkproof.models.columns import DISPOSITION_CODE
from trunkproof.models.costs import Costs
from trunkproof.models.edges import EdgeDown
from trunkproof.models.packets import PACKETS_PER_STREAM_S
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.refusals import REFUSALS, THROTTLE_CAUSE, refusal_of
from trunkproof.models.study import CarrierBrownOut, Incident, Pop, Study, Trunk
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.registry import KERNEL_CODE
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.timers import CONNECT_TIMEOUT_S, EDGE_RETRY_S, TRANSACTION_TIMEOUT_S
from trunkproof.models.traffic import TlsPolicy
from trunkproof.simulator.edge import round_trips
from trunkproof.simulator.host import MOST_MEDIA_SHARE, capacity
from trunkproof.simulator.kernel import codes, memory
from trunkproof.simulator.kernel.heap import PLACES
from trunkproof.simulator.kernel.memory import Records, World

_FIRST_CALLS = 1024
"""Places for calls under way at the beginning. More are made when they are needed."""


def world_of(study: Study, costs: Costs, anchors: Mapping[str, float], *, batch: int) -> World:
    """Return the memory of a study at its first instant."""
    throttles, throttle_of, places = _throttles(study, anchors)
    # All trunks' connections lie in one array; each trunk notes where its own begin.
    edges = len(study.pop.doors)
    connections = [edges * _slots(trunk) for trunk in study.trunks]
    clock = _clock(study, costs, batch)
    # One event for each attempt, trunk and incident. Where cancelled events come on top, the heaps are made larger.
    events = _FIRST_CALLS + len(study.trunks) + len(study.pop.incidents)
    return World(
        clock=clock,
        soon=np.zeros(PLACES, dtype=memory.EVENT),
        near=np.zeros(events, dtype=memory.EVENT),
        far=np.zeros(events, dtype=memory.EVENT),
        attempts=np.zeros(_FIRST_CALLS, dtype=memory.ATTEMPT),
        free=np.arange(_FIRST_CALLS),
        rows=np.zeros(_FIRST_CALLS, dtype=memory.ROW),
        free_rows=np.arange(_FIRST_CALLS),
        plan=np.zeros((len(study.trunks), 0), dtype=memory.ROW),
        trunks=_trunks(study, connections),
        edges=_edges(edges),
        lines=_lines(throttle_of),
        throttles=throttles,
        # A restart has to bring a throttle back to its first state, which compiled code cannot make anew.
        unused_throttles=throttles.copy(),
        rings=np.zeros(places),
        pools=_pools(study),
        connections=_connections(sum(connections)),
        incidents=_incidents(study.pop),
        resting=np.zeros(int(clock["ports"][0] // clock["legs"][0]) + 1),
        cores=np.zeros(int(clock["servers"][0])),
        refusals=_refusals(),
        interrupted=np.zeros(0, dtype=np.int64),
        records=np.zeros(batch, dtype=memory.RECORD),
    )


def _clock(study: Study, costs: Costs, batch: int) -> Records:
    pop = study.pop
    ports, carrier, cores = pop.ports, pop.carrier, capacity(pop.machine, costs)
    # As few servers as can spend all of the capacity, each a little slower where it is not a whole number of cores.
    servers = math.ceil(cores)
    return _one(
        memory.CLOCK,
        until_s=math.inf,
        half_trip_s=costs.round_trip_s / 2,
        round_trip_s=costs.round_trip_s,
        throttle_decision_s=costs.throttle_decision_s,
        full_s=costs.full_handshake_s,
        resumed_s=costs.resumed_handshake_s,
        refusal_s=costs.refusal_s,
        # A forwarded INVITE is read and checked first, as a refused one is. Both are measured, so the difference may be
        # noise.
        forwarding_s=max(0.0, costs.invite_s - costs.refusal_s),
        bye_s=costs.bye_s,
        speed=cores / servers,
        servers=servers,
        contended_share=costs.contended_work_share,
        required_per_stream=PACKETS_PER_STREAM_S * costs.required_packet_s / cores,
        most_media_share=MOST_MEDIA_SHARE,
        timer_b_s=TRANSACTION_TIMEOUT_S,
        poll_s=EDGE_RETRY_S,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        edges=len(pop.doors),
        recheck_s=pop.failover.recheck_s,
        on_503=pop.failover.on_503,
        any_edge=pop.failover.record_route == "name",
        quarantine_s=ports.quarantine_s,
        # RTP takes an even port and RTCP the odd one above it (RFC 3550 section 11).
        ports=len(range(ports.low + ports.low % 2, ports.high, 2)),
        legs=ports.legs,
        left=-1,
        is_rate_limited=carrier.calls_per_second is not None,
        batch=batch,
        free=_FIRST_CALLS,
        rows=_FIRST_CALLS,
        trunks=len(study.trunks),
        waiting=-1,
        initialising=True,
    )


def _edges(count: int) -> Records:
    edges = np.zeros(count, dtype=memory.EDGE)
    edges["up"], edges["silent_until_s"] = True, math.nan
    return edges


def _lines(throttle_of: Sequence[Sequence[int]]) -> Records:
    lines = np.zeros(sum(map(len, throttle_of)), dtype=memory.LINE)
    lines["throttle"] = np.array(throttle_of).reshape(-1)
    lines["avoided_until_s"] = -math.inf
    return lines


def _trunks(study: Study, connections: Sequence[int]) -> Records:
    trunks = np.zeros(len(study.trunks), dtype=memory.TRUNK)
    for index, trunk in enumerate(study.trunks):
        traffic, is_asked = trunk.traffic, trunk.throttle.is_asked
        _set(
            trunks[index],
            connections=sum(connections[:index]),
            slots=_slots(trunk),
            pool=study.channel_pools[index],
            obeys_retry_after=traffic.redial.obeys_retry_after,
            throttle_asked=is_asked,
            throttle_asked_inbound=is_asked and trunk.throttle.counts == "both",
            admits=trunk.admits(trunk.customer_address),
            per_call=traffic.tls.policy is TlsPolicy.PER_CALL,
            trips_full=round_trips(trunk, resumes=False),
            trips_resumed=round_trips(trunk, resumes=True),
        )
    return trunks


def _pools(study: Study) -> Records:
    carrier = study.pop.carrier
    pools = np.zeros(max(study.channel_pools) + 1, dtype=memory.POOL)
    # -1 stands for "no limit": an integer of a record cannot be None.
    pools["base"] = -1 if carrier.channels is None else carrier.channels
    if carrier.burst is not None:
        pools["most"], pools["burst_s"] = carrier.burst.channels, carrier.burst.for_s
    return pools


def _slots(trunk: Trunk) -> int:
    return trunk.traffic.tls.pool_size if trunk.traffic.tls.policy is TlsPolicy.POOL else 1


def _connections(count: int) -> Records:
    connections = np.zeros(count, dtype=memory.CONNECTION)
    # 0 would be a number of restarts, or a call: -1 is neither.
    connections["standing"] = connections["first_waiting"] = -1
    return connections


def _throttles(study: Study, anchors: Mapping[str, float]) -> tuple[Records, list[list[int]], int]:
    """Return all throttles, the carrier's rate last, the places of each trunk's, and how many instants they remember.

    A trunk has one place for each edge, which are equal where all edges count together.
    """
    written: list[dict[str, float]] = []
    counts: dict[tuple[str, str], int] = {}
    places = 0

    def place(policy: Policy, anchor_s: float) -> int:
        nonlocal places
        values: dict[str, float] = {
            "policy": KERNEL_CODE[type(policy)],
            "status": policy.refusal_status,
            "retry_after_s": math.nan if policy.retry_after_s is None else policy.retry_after_s,
            "anchor_s": anchor_s,
            # All sliding windows share one array, each from its own place on.
            "ring": places,
        }
        written.append(values | policy.kernel_values())
        places += policy.remembered
        return len(written) - 1

    def place_for(policy: Policy, trunk: int) -> int:
        key = study.count_of(policy, trunk)
        # As `models.limits` makes them: a shared limit once, by the anchor of the first trunk that names it.
        if key is not None and key in counts:
            return counts[key]
        which = place(policy, anchors.get(study.trunks[trunk].name, 0.0))
        if key is not None:
            counts[key] = which
        # A list of parts is a chain of records: each has a part, and where the rest of the list begins.
        link = which
        for number, part in enumerate(policy.parts):
            if number:
                written.append({})
                written[link]["rest"] = link = len(written) - 1
            written[link] |= {"part": place_for(part, trunk), "rest": -1}
        return which

    edges, throttle_of = len(study.pop.doors), []
    for index, trunk in enumerate(study.trunks):
        throttle_of.append([place_for(trunk.throttle, index)] * edges)
    for edge in range(1, edges if study.pop.throttle_per == "edge" else 1):
        # As `models.limits` makes them: each edge has counts of its own.
        counts.clear()
        for index, trunk in enumerate(study.trunks):
            throttle_of[index][edge] = place_for(trunk.throttle, index)
    # The carrier's record exists even without such a limit, but then nobody asks it (`is_rate_limited`).
    place(SlidingWindowAdmitted(limit=study.pop.carrier.calls_per_second or 1, window_s=1.0), 0.0)
    throttles = np.zeros(len(written), dtype=memory.THROTTLE)
    for record, values in zip(throttles, written, strict=True):
        _set(record, **values)
    return throttles, throttle_of, places


def _incidents(pop: Pop) -> Records:
    known = np.zeros(len(pop.incidents), dtype=memory.INCIDENT)
    for index, incident in enumerate(pop.incidents):
        _set(known[index], at_s=incident.at_s, **_told(pop, incident))
    return known


def _told(pop: Pop, incident: Incident) -> dict[str, float]:
    match incident:
        case CarrierBrownOut():
            return {"lasts_s": incident.lasts_s, "channels": incident.channels, "is_brown_out": True}
        case EdgeDown(connects=connects):
            edge = pop.edge_of(incident)
            return {"lasts_s": incident.lasts_s, "edge": edge, "is_silent": connects == "time_out"}
    return {"lasts_s": incident.down_s, "edge": -1, "forgets_throttle": incident.forgets_throttle}


def _refusals() -> IntArray:
    told = np.full((len(Disposition), 3), -1)
    for kind in REFUSALS:
        status, cause = refusal_of(kind, Direction.OUTBOUND)
        told[DISPOSITION_CODE[kind]] = status, cause, refusal_of(kind, Direction.INBOUND).status
    # The throttle's status is the policy's own (`THROTTLE.status`); only its cause is common to all.
    told[codes.THROTTLED, 1] = THROTTLE_CAUSE
    return told


def _one(kind: np.dtype[np.void], **values: float) -> Records:
    record = np.zeros(1, dtype=kind)
    _set(record[0], **values)
    return record


def _set(record: Records, **values: float) -> None:
    for name, value in values.items():
        record[name] = value
