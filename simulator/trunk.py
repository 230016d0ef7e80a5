"""The life of a call, as SimPy processes: read `Caller.run` from top to bottom.

A caller connects, sends an INVITE, meets whitelist, throttle, ports and carrier, rings, is answered or refused, talks,
hangs up, and perhaps tries again. The limits are in `models.limits`, the machine in `host`, TLS in `edge`, incidents in
`incidents`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import simpy

from trunkproof.models.costs import REFUSED_WITHOUT_CARRIER, Costs
from trunkproof.models.destinations import NumberLimits
from trunkproof.models.edge_choice import EdgeChoice
from trunkproof.models.limits import Limits, Ports
from trunkproof.models.packets import PACKETS_PER_STREAM_S
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import ConnectionKind, Direction, Disposition, Record
from trunkproof.models.refusals import THROTTLE_CAUSE, refusal_of
from trunkproof.models.study import Study, Trunk
from trunkproof.models.throttles.decision import Refused
from trunkproof.models.timers import EDGE_RETRY_S, TRANSACTION_TIMEOUT_S
from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor
from trunkproof.simulator.edge import Connections, Edge
from trunkproof.simulator.host import Host

Process = Generator[simpy.Event, object, None]
_DOES_NOT_RING = (Outcome.BUSY, Outcome.REJECTED)
_BY_OUTCOME = {
    Outcome.BUSY: Disposition.BUSY,
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.REJECTED: Disposition.CARRIER_REJECTED,
    Outcome.ABANDONED: Disposition.ABANDONED,
}
_ENDED_BY_CALLER = frozenset({Disposition.COMPLETED, Disposition.ABANDONED})
"""By BYE or CANCEL, whose response travels back. Of other attempts the last response has arrived already."""


class EdgeLost(Exception):  # noqa: N818  # an event in the life of a call, no error
    """The connection was lost before the final response."""


@dataclass(eq=False)
class World:
    """All that the calls of a simulation share."""

    env: simpy.Environment
    study: Study
    costs: Costs
    host: Host
    edges: list[Edge]
    """One for each of the study's `doors`. They share the CPU of the PoP."""
    limits: Limits
    emit: Callable[[Record], None]
    numbers: NumberLimits = field(init=False)
    """The limits of the dialled numbers, which the caller's side keeps."""
    inviting: dict[simpy.Process, int] = field(default_factory=dict)
    """Outbound attempts without a final response, in the order of their INVITEs -> the edge that they go through."""
    under_way: dict[Record, None] = field(default_factory=dict)
    """Attempts that have not ended, in the order of their beginning."""
    customers: list[Customer] = field(init=False)
    """One for each trunk."""
    half_trip_s: float = field(init=False)
    forwarding_s: float = field(init=False)
    """What an INVITE costs beyond the reading and checking that a refused one costs too."""

    def __post_init__(self) -> None:
        self.numbers = NumberLimits(trunk.traffic.where for trunk in self.study.trunks)
        self.customers = [Customer(trunk, self.study, self.edges) for trunk in self.study.trunks]
        self.half_trip_s = self.costs.round_trip_s / 2
        self.forwarding_s = max(0.0, self.costs.invite_s - self.costs.refusal_s)

    def break_off(self, edges: Collection[int]) -> None:
        """Break off the attempts without a final response that go through these edges."""
        # In the order of their INVITEs, as the compiled engine does: what they do next must be scheduled in the same
        # order.
        for process in [process for process, edge in self.inviting.items() if edge in edges]:
            process.interrupt()


class Customer:
    """What the callers of one trunk share."""

    def __init__(self, trunk: Trunk, study: Study, edges: Sequence[Edge]) -> None:
        self.name = trunk.name
        self.redial = trunk.traffic.redial
        self.connections = [Connections(edge, trunk) for edge in edges]
        self.failover = study.pop.failover
        self.choice = EdgeChoice(study.pop.doors, study.seed, self.failover.recheck_s)
        self.is_whitelisted = trunk.admits(trunk.customer_address)
        self.is_plain = trunk.media == "rtp"


class Caller:
    """One caller with all attempts that the plan foresees."""

    def __init__(self, world: World, attempts: Sequence[PlanRow]) -> None:
        self._world = world
        self._env = world.env
        self._attempts = attempts
        self._customer = world.customers[attempts[0].trunk]

    def run(self) -> Process:
        """Call, and call again after failures, as long as the plan says."""
        env, intended_s, numbers = self._env, self._env.now, self._world.numbers
        first = self._attempts[0]
        # Left out, with all its redials: there is no record of what was not placed.
        if not numbers.begin(first.trunk, first.destination, intended_s):
            return
        for row in self._attempts:
            record = self._begin(row, intended_s)
            steps = self._outbound if row.direction is Direction.OUTBOUND else self._inbound
            yield from steps(row, record)
            record.ended_s = env.now
            # The plan decided beforehand, for each ending, whether this caller tries again: nothing is drawn here.
            record.redialled = row.redial(record.disposition) is not None
            if record.redialled:
                delay_s = self._attempts[row.attempt + 1].redial_delay_s
                intended_s = env.now + self._customer.redial.wait_s(delay_s, record.retry_after_s)
                record.redialled = numbers.again(row.trunk, row.destination, intended_s)
            self._world.emit(record)
            if not record.redialled:
                numbers.end(row.trunk, row.destination)
                return
            # The difference and not the wait itself: in floating point the two may differ, and the kernel computes it
            # in this way.
            yield env.timeout(intended_s - env.now)

    def _begin(self, row: PlanRow, intended_s: float) -> Record:
        record = Record(
            row=row.row,
            call=row.call,
            attempt=row.attempt,
            trunk=self._customer.name,
            direction=row.direction,
            disposition=Disposition.STILL_UP,
            intended_s=intended_s,
        )
        self._world.under_way[record] = None
        return record

    def _outbound(self, row: PlanRow, record: Record) -> Process:
        """Call from the customer: by one edge, and where that fails before it rings, by the next."""
        choice, tried = self._customer.choice, 0
        while (edge := choice.next(row.call, self._env.now, tried)) is not None:
            tried |= 1 << edge
            # What an edge before this one said is forgotten, but for the instant of the first INVITE.
            record.disposition, record.status, record.cause = Disposition.STILL_UP, None, None
            record.retry_after_s, record.connect_s, record.ports = None, None, 0
            try:
                yield from self._by(edge, row, record)
            except EdgeLost:
                record.disposition = Disposition.CONNECTION_FAILED
                # A final response that was on its way never arrived.
                record.status = record.cause = record.retry_after_s = None
            if record.disposition is Disposition.TIMED_OUT:
                choice.failed(edge, self._env.now)
            if not self._turns_away(record):
                return

    def _turns_away(self, record: Record) -> bool:
        """Tell whether the caller tries another edge (RFC 3263 section 4.3). One that has heard it ring does not."""
        is_refused = self._customer.failover.on_503 and record.status == 503
        has_failed = record.disposition in {Disposition.CONNECTION_FAILED, Disposition.TIMED_OUT}
        return (has_failed or is_refused) and record.ringing_s is None

    def _connect(self, edge: int, row: PlanRow) -> Generator[simpy.Event, object, ConnectionKind | None]:
        """Return the kind of a connection to an edge, or None where none can be had."""
        connections, choice = self._customer.connections[edge], self._customer.choice
        if kind := connections.standing(row):
            return kind
        kind = yield from connections.open(row)
        if kind is None:
            choice.failed(edge, self._env.now)
        elif kind is not ConnectionKind.REUSED:
            choice.worked(edge)
        return kind

    def _by(self, edge: int, row: PlanRow, record: Record) -> Process:
        """Call by one edge: over TLS, past the whitelist and the limits, to the PSTN."""
        env, world = self._env, self._world
        began, record.edge = env.now, edge
        record.connection = yield from self._connect(edge, row)
        if record.connection is None:
            raise EdgeLost
        sent_s, record.connect_s = env.now, env.now - began
        record.sent_s = sent_s if record.sent_s is None else record.sent_s
        restarts, process, ports = world.edges[edge].restarts, env.active_process, None
        assert process is not None
        world.inviting[process] = edge
        try:
            wait_s, is_heard = self._invite()
            yield env.timeout(wait_s)
            if not is_heard:
                record.disposition = Disposition.TIMED_OUT
                return
            asked = env.now
            if self._customer.is_whitelisted:
                ports = yield from self._admitted(row, record, edge)
            else:
                _refuse(record, Disposition.NOT_WHITELISTED)
            if ports is None:
                yield env.timeout(world.half_trip_s)
                return
            # Set-up counts from the INVITE's arrival: parsing runs beside it, but the delay of a shaper adds to it.
            handed_over = sent_s + world.half_trip_s + (env.now - asked)
            answered = yield from self._until_answered(row, record, handed_over)
        # Only a lost edge interrupts, and only attempts in `inviting`: after the answer a call goes on without it.
        except simpy.Interrupt:
            if ports is not None:
                world.limits.give_back(row.trunk, ports, env.now)
            raise EdgeLost from None
        finally:
            del world.inviting[process]
        if answered:
            yield from self._talk(row, record, edge, restarts)
        world.limits.give_back(row.trunk, ports, env.now)
        if record.disposition in _ENDED_BY_CALLER:
            # The response to the BYE or CANCEL on its way back; refusals have arrived already.
            yield env.timeout(world.half_trip_s)

    def _invite(self) -> tuple[float, bool]:
        """Return how long the INVITE travels and queues at the edge, and whether the caller waits that long.

        The trunk does not know that the caller gave up, and spends its work all the same. As a simplification, such an
        INVITE does not count against the limits.
        """
        world = self._world
        # The work is queued when the INVITE is sent, half a trip early: the queue needs no event of its own then.
        wait_s = world.half_trip_s + self._work(world.costs.refusal_s)
        if wait_s + world.half_trip_s <= TRANSACTION_TIMEOUT_S:
            return wait_s, True
        self._work(world.forwarding_s)
        return TRANSACTION_TIMEOUT_S, False

    def _inbound(self, row: PlanRow, record: Record) -> Process:
        """Call from the PSTN: past the limits, to the customer over the trunk's own open connection."""
        env, world = self._env, self._world
        record.sent_s = env.now
        # The trunk decides at once. This work delays the ringing, because the work of forwarding queues behind it.
        self._work(world.costs.refusal_s)
        ports = yield from self._admitted(row, record)
        if ports is None:
            return
        record.sent_s = env.now
        answered = yield from self._until_answered(row, record, env.now + world.half_trip_s)
        if answered:
            yield from self._talk(row, record)
        if answered or row.outcome is Outcome.ABANDONED:
            yield env.timeout(world.half_trip_s)
        world.limits.give_back(row.trunk, ports, env.now)

    def _admitted(self, row: PlanRow, record: Record, edge: int = 0) -> Generator[simpy.Event, object, Ports | None]:
        """Pass throttle, ports and carrier. Return the ports, or None once the record says which limit refused."""
        limits, env, throttle_decision_s = self._world.limits, self._env, self._world.costs.throttle_decision_s
        if throttle_decision_s and limits.is_limited(row.trunk, row.direction):
            yield env.timeout(throttle_decision_s)
        decision = limits.ask_throttle(row.trunk, row.direction, env.now, edge)
        if isinstance(decision, Refused):
            record.disposition, record.status, record.cause = Disposition.THROTTLED, decision.status, THROTTLE_CAUSE
            record.retry_after_s = decision.retry_after_s
            return None
        if decision.delay_s > 0:
            yield env.timeout(decision.delay_s)
        taken = limits.take(row.trunk, env.now)
        if isinstance(taken, Disposition):
            # The carrier refuses an INVITE that was forwarded to it, so that work is spent.
            if taken not in REFUSED_WITHOUT_CARRIER:
                self._work(self._world.forwarding_s)
            _refuse(record, taken)
            return None
        record.ports = len(taken)
        return taken

    def _until_answered(self, row: PlanRow, record: Record, handed_over: float) -> Generator[simpy.Event, object, bool]:
        """Follow the called side: set-up, ringing, answer or refusal. Return whether it answered.

        Set-up counts from the instant at which the trunk handed the call over. Its responses reach the caller half a
        round trip later.
        """
        env, half_trip_s = self._env, self._world.half_trip_s
        # The trunk's work and the called side's set-up run side by side: the later of the two counts.
        worked_s = self._work(self._world.forwarding_s)
        yield env.timeout(max(worked_s, handed_over + row.setup_s - env.now) + half_trip_s)
        if row.outcome not in _DOES_NOT_RING:
            record.ringing_s = env.now
            yield env.timeout(row.ring_s)
        record.status = row.status
        if row.outcome is Outcome.ANSWERED:
            record.answered_s = env.now
            return True
        record.disposition = _BY_OUTCOME[row.outcome]
        if row.outcome is Outcome.ABANDONED:
            # The CANCEL has yet to reach the trunk.
            yield env.timeout(half_trip_s)
        return False

    def _talk(self, row: PlanRow, record: Record, edge: int = 0, restarts: int | None = None) -> Process:
        """Exchange audio in both directions, then hang up. One direction goes on until the BYE has reached the trunk.

        `restarts` is the edge's number of restarts when the INVITE was sent. None: its connection is always open.
        """
        env, world = self._env, self._world
        reading = world.host.audio_begins(env.now)
        yield env.timeout(row.hold_s)
        record.bye_s = env.now
        _note_audio(record, row.hold_s, world.host.one_stops(reading, env.now))
        # Nothing authenticates plain RTP.
        record.rtp_authenticated = 0 if self._customer.is_plain else record.rtp_received
        is_gone = restarts is not None and restarts != world.edges[edge].restarts
        if is_gone and not (yield from self._reconnected(edge, row)):
            # Nobody took the BYE. The called user has heard nothing since, and hangs up now too.
            record.disposition = Disposition.CONNECTION_FAILED
        else:
            yield env.timeout(world.half_trip_s + self._work(world.costs.bye_s))
            record.disposition = Disposition.COMPLETED
        world.host.other_stops(env.now)

    def _reconnected(self, edge: int, row: PlanRow) -> Generator[simpy.Event, object, bool]:
        """Find a connection for the BYE of a call whose connection is gone. Return False if timer F fires first."""
        env, choice, tried = self._env, self._customer.choice, 0
        until = env.now + TRANSACTION_TIMEOUT_S
        uses_any = self._customer.failover.record_route == "name"
        while env.now < until:
            # The Route says where the BYE may go: to the call's own edge, or to all that have the trunk's name.
            other = choice.next(row.call, env.now, tried) if uses_any else edge
            if other is not None:
                tried |= 1 << other
                kind = yield from self._connect(other, row)
                if kind is not None:
                    return True
            if other is None or not uses_any:
                yield env.timeout(EDGE_RETRY_S)
                tried = 0
        return False

    def _work(self, seconds: float) -> float:
        # Work of 0 s does not wait in the queue.
        return self._world.host.finish(seconds, self._env.now) if seconds else 0.0


def _refuse(record: Record, disposition: Disposition) -> None:
    record.disposition = disposition
    record.status, record.cause = refusal_of(disposition, record.direction)


@lru_cache(maxsize=4096)
def _mos(lost_share: float) -> float:
    """Return the MOS, cached: nearly all calls have no loss."""
    return mos(r_factor(MOUTH_TO_EAR_MS, lost_share))


def _note_audio(record: Record, hold_s: float, lost_s: float) -> None:
    # The first packet goes out with the answer, and not one interval later.
    packets = int(hold_s * PACKETS_PER_STREAM_S) + 1
    record.rtp_sent = packets
    record.rtp_lost = min(packets, round(lost_s * PACKETS_PER_STREAM_S))
    record.rtp_received = packets - record.rtp_lost
    record.mos = _mos(record.rtp_lost / packets)
