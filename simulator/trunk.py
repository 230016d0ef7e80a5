"""The life of a call, as SimPy processes: read `Caller.run` from top to bottom.

A caller connects, sends an INVITE, meets whitelist, throttle, ports and carrier, rings, is answered or refused, talks,
hangs up, and perhaps tries again. Limits are `models.limits`, the machine is `host`, TLS is `edge`; incidents are
`incidents`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import simpy

from models.costs import PACKETS_PER_S, REFUSED_WITHOUT_CARRIER, Costs
from models.limits import Limits, Ports
from models.plan import Outcome, PlanRow
from models.records import Direction, Disposition, Record
from models.refusals import REFUSALS, THROTTLE_CAUSE
from models.study import Study, Trunk
from models.throttle import Refused
from models.voice import MOUTH_TO_EAR_MS, mos, r_factor
from simulator.clock import Clock
from simulator.edge import Connections, Edge
from simulator.host import Host

Process = Generator[simpy.Event, object, None]
_SENT_PER_S = PACKETS_PER_S // 2
_BY_OUTCOME = {
    Outcome.BUSY: Disposition.BUSY,
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.REJECTED: Disposition.CARRIER_REJECTED,
    Outcome.ABANDONED: Disposition.ABANDONED,
}
TIMER_B_S = 32.0
"""An INVITE without any response is given up then (RFC 3261 17.1.1.2, 64 times T1)."""
EDGE_POLL_S = 0.1
"""A BYE that finds the edge down tries again this often, as the load generator does."""


class EdgeLost(Exception):  # noqa: N818  # what happens to a call, not an error of anybody's
    """The connection went before the final response."""


@dataclass(eq=False)
class World:
    """All that the calls of a simulation share."""

    env: Clock
    study: Study
    costs: Costs
    host: Host
    edge: Edge
    limits: Limits
    emit: Callable[[Record], None]
    customers: list[Connections] = field(default_factory=list)
    """By trunk: the connections that its customer opened."""
    inviting: dict[simpy.Process, None] = field(default_factory=dict)
    """Outbound attempts without a final response, which an edge restart breaks off."""
    under_way: dict[Record, None] = field(default_factory=dict)
    """Attempts that have not ended, in the order of their beginning."""
    half_trip_s: float = field(init=False)
    forwarding_s: float = field(init=False)
    """What an INVITE costs beyond the reading and checking that a refused one costs too."""

    def __post_init__(self) -> None:
        self.half_trip_s = self.costs.round_trip_s / 2
        self.forwarding_s = max(0.0, self.costs.invite_s - self.costs.refusal_s)


class Caller:
    """One caller with all attempts that the plan foresees."""

    def __init__(self, world: World, attempts: Sequence[PlanRow]) -> None:
        self._world = world
        self._env = world.env
        self._attempts = attempts
        self._trunk: Trunk = world.study.trunks[attempts[0].trunk]

    def run(self) -> Process:
        """Call, and call again after failures, as long as the plan says."""
        intended_s = self._env.now
        for row in self._attempts:
            record = self._begin(row, intended_s)
            yield from self._attempt(row, record)
            intended_s = self._env.now + self._redial_wait(row, record)
            record.redialled = self._wants_more(row, record)
            self._world.emit(record)
            if not record.redialled:
                return
            yield self._env.timeout(intended_s - self._env.now)

    def _begin(self, row: PlanRow, intended_s: float) -> Record:
        record = Record(
            row=row.row,
            call=row.call,
            attempt=row.attempt,
            trunk=self._trunk.name,
            direction=row.direction,
            disposition=Disposition.STILL_UP,
            intended_s=intended_s,
        )
        self._world.under_way[record] = None
        return record

    def _wants_more(self, row: PlanRow, record: Record) -> bool:
        return record.disposition in self._trunk.traffic.redial.after and row.next_row is not None

    def _redial_wait(self, row: PlanRow, record: Record) -> float:
        if not self._wants_more(row, record):
            return 0.0
        following = self._attempts[row.attempt + 1]
        delay_s = following.redial_delay_s or 0.0
        obeys = self._trunk.traffic.redial.obeys_retry_after
        return max(delay_s, record.retry_after_s or 0.0) if obeys else delay_s

    def _attempt(self, row: PlanRow, record: Record) -> Process:
        steps = self._outbound if row.direction is Direction.OUTBOUND else self._inbound
        try:
            yield from steps(row, record)
        except EdgeLost:
            record.disposition = Disposition.CONNECTION_FAILED
            # A final response that was on its way never arrived.
            record.status = record.cause = record.retry_after_s = None
        record.ended_s = self._env.now

    def _outbound(self, row: PlanRow, record: Record) -> Process:
        """From the customer: over TLS, past the whitelist and the limits, to the PSTN."""
        env, world, connections = self._env, self._world, self._world.customers[row.trunk]
        began = env.now
        record.connection = yield from connections.acquire(row)
        if record.connection is None:
            raise EdgeLost
        record.connect_s, record.sent_s = env.now - began, env.now
        restarts = world.edge.restarts
        process = env.active_process
        assert process is not None
        world.inviting[process] = None
        ports: Ports | None = None
        try:
            if (yield from self._times_out(record)):
                return
            if not self._trunk.admits(self._trunk.customer_address):
                yield from self._refused(record, Disposition.NOT_WHITELISTED)
                return
            asked = env.now
            ports = yield from self._admitted(row, record)
            if ports is None:
                return
            # Counted from the INVITE's arrival: parsing goes on beside what follows, a shaper's delay does not.
            handed_over = record.sent_s + self._world.half_trip_s + (env.now - asked)
            answered = yield from self._until_answered(row, record, handed_over)
        except simpy.Interrupt:
            if ports is not None:
                world.limits.give_back(ports, env.now)
            raise EdgeLost from None
        finally:
            del world.inviting[process]
        if answered:
            yield from self._talk(row, record, reconnects=lambda: connections.lost(restarts))
        world.limits.give_back(ports, env.now)
        yield from self._last_response(record)

    def _times_out(self, record: Record) -> Generator[simpy.Event, object, bool]:
        """The INVITE on its way and in the edge's queue; whether the caller gave up before anything came back.

        The trunk does not know, and works on what nobody waits for any more; its limits are spared (a simplification).
        """
        costs = self._world.costs
        wait_s = self._world.half_trip_s + self._work(costs.refusal_s)
        if wait_s + self._world.half_trip_s <= TIMER_B_S:
            yield self._env.timeout(wait_s)
            return False
        self._work(self._world.forwarding_s)
        yield self._env.timeout(TIMER_B_S)
        record.disposition = Disposition.TIMED_OUT
        return True

    def _inbound(self, row: PlanRow, record: Record) -> Process:
        """From the PSTN: past the limits, to the customer over the trunk's own connection, which always stands."""
        record.sent_s = self._env.now
        # It is decided on at once; its ringing waits for this work, behind which that of handing it on queues.
        self._work(self._world.costs.refusal_s)
        ports = yield from self._admitted(row, record)
        if ports is None:
            return
        record.sent_s = self._env.now
        answered = yield from self._until_answered(row, record, self._env.now + self._world.half_trip_s)
        if answered:
            yield from self._talk(row, record, reconnects=lambda: False)
        yield from self._last_response(record)
        self._world.limits.give_back(ports, self._env.now)

    def _last_response(self, record: Record) -> Process:
        """The response to a BYE or CANCEL on its way back; refusals have arrived already."""
        if record.disposition in (Disposition.COMPLETED, Disposition.ABANDONED):
            yield self._env.timeout(self._world.half_trip_s)

    def _admitted(self, row: PlanRow, record: Record) -> Generator[simpy.Event, object, Ports | None]:
        """Pass throttle, ports and carrier: the ports, or `None` once the record says what refused."""
        limits, env = self._world.limits, self._env
        if self._world.costs.throttle_s and limits.is_limited(row.trunk, row.direction):
            yield env.timeout(self._world.costs.throttle_s)
        decision = limits.ask_throttle(row.trunk, row.direction, env.now)
        if isinstance(decision, Refused):
            record.status, record.cause, record.retry_after_s = decision.status, THROTTLE_CAUSE, decision.retry_after_s
            yield from self._refused(record, Disposition.THROTTLED)
            return None
        if decision.delay_s > 0:
            yield env.timeout(decision.delay_s)
        taken = limits.take(env.now)
        if isinstance(taken, Disposition):
            if taken not in REFUSED_WITHOUT_CARRIER:
                self._work(self._world.forwarding_s)
            yield from self._refused(record, taken)
            return None
        record.ports = len(taken)
        return taken

    def _refused(self, record: Record, disposition: Disposition) -> Process:
        record.disposition = disposition
        if disposition is not Disposition.THROTTLED:
            record.status, record.cause = REFUSALS[disposition]
        if record.direction is Direction.OUTBOUND:
            yield self._env.timeout(self._world.half_trip_s)

    def _until_answered(self, row: PlanRow, record: Record, handed_over: float) -> Generator[simpy.Event, object, bool]:
        """The called side: set-up, ringing, answer or refusal; whether it was answered.

        It counts from when the trunk handed the call over; what it sends is with the caller half a round trip later.
        """
        env, worked_s = self._env, self._work(self._world.forwarding_s)
        yield env.timeout(max(worked_s, handed_over + row.setup_s - env.now) + self._world.half_trip_s)
        if row.outcome not in (Outcome.BUSY, Outcome.REJECTED):
            record.ringing_s = env.now
            yield env.timeout(row.ring_s)
        record.status = row.status
        if row.outcome is Outcome.ANSWERED:
            record.answered_s = env.now
            return True
        record.disposition = _BY_OUTCOME[row.outcome]
        if row.outcome is Outcome.ABANDONED:
            # The CANCEL has yet to reach the trunk.
            yield env.timeout(self._world.half_trip_s)
        return False

    def _talk(self, row: PlanRow, record: Record, *, reconnects: Callable[[], bool]) -> Process:
        """Audio both ways until the BYE has reached the trunk."""
        env, world = self._env, self._world
        reading = world.host.audio_begins(env.now)
        yield env.timeout(row.hold_s)
        record.bye_s = env.now
        lost_s = world.host.audio_ends(reading, env.now)
        _note_audio(record, row.hold_s, lost_s)
        if reconnects():
            while (yield from world.customers[row.trunk].acquire(row)) is None:
                yield env.timeout(EDGE_POLL_S)
        yield env.timeout(self._world.half_trip_s + self._work(world.costs.bye_s))
        record.disposition = Disposition.COMPLETED

    def _work(self, seconds: float) -> float:
        # Nothing to do is not queued for.
        return self._world.host.finish(seconds, self._env.now) if seconds else 0.0


@lru_cache(maxsize=4096)
def _mos(lost_share: float) -> float:
    """Of nearly all calls it is that without a loss."""
    return mos(r_factor(MOUTH_TO_EAR_MS, lost_share))


def _note_audio(record: Record, hold_s: float, lost_s: float) -> None:
    packets = int(hold_s * _SENT_PER_S) + 1
    record.rtp_sent = packets
    record.rtp_lost = min(packets, round(lost_s * _SENT_PER_S))
    record.rtp_received = record.rtp_authenticated = packets - record.rtp_lost
    record.mos = _mos(record.rtp_lost / packets)
