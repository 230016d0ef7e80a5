"""Place calls from the PSTN to the trunk's customers, with messages as in the operator's document.

An `Admit` decides whether a call may come in. An admitted call goes out over the line of its customer. A call that is
refused before never reaches the customer, but has its record here.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.parties.agent import SipAgent
from trunkproof.loadgen.parties.audio import Audio, codecs_of
from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.parties.incoming import Reservation
from trunkproof.loadgen.parties.numbers import pstn_number
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.loadgen.parties.refusal import CallRefused
from trunkproof.loadgen.schedule.dialler import Dialler
from trunkproof.loadgen.schedule.pacer import Instant, Pacer
from trunkproof.loadgen.sip.invite import LegIds, Place, inbound_invite, trunk_offer
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdp import SessionDescription
from trunkproof.loadgen.tls.edges import EdgePools
from trunkproof.loadgen.tls.pool import ConnectionPool
from trunkproof.models.plan import Plan, PlanRow, dialled_number
from trunkproof.models.records import Direction, FarEnd, Record
from trunkproof.models.refusals import RefusalRules
from trunkproof.models.study import Study

Admit = Callable[[PlanRow], Awaitable[Reservation]]
"""Return what an inbound call holds from now on, or raise `CallRefused`."""


class PstnLine:
    """The line from the PSTN to one customer. `pool` leads to the customer, `edge` is our own address."""

    def __init__(
        self,
        study: Study,
        index: int,
        agent: SipAgent,
        pool: ConnectionPool | EdgePools,
        edge: Place,
        *,
        records_route: bool,
    ) -> None:
        self._settings = study.trunks[index]
        self._edge = edge
        self._records_route = records_route
        self.agent = agent
        self.pool = EdgePools([pool]) if isinstance(pool, ConnectionPool) else pool
        self.ports_per_call = study.pop.ports.legs
        # Without a stack in between, a customer's telephone refuses, and it need not be ours.
        self.refusals = RefusalRules.of(self._settings.throttle, ours=not records_route)
        self.ring_patience_s = self._settings.traffic.ring_patience_s
        self.redirector = None
        self.credentials = None
        self.recorder = None
        # The line opens audio by row, so what a call got at its admission waits here for it.
        self.reservations: dict[int, Reservation] = {}

    def far_end(self, row: PlanRow) -> FarEnd:
        """Return that a customer's telephones play the plan."""
        return FarEnd.PLAN

    def open_audio(self, row: PlanRow) -> Audio:
        """Return our side's audio, on the ports that the call was given at its admission."""
        return self.reservations[row.row].open_audio()

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """Return the trunk's offer, with telephone-event 96 and `a=rtcp`."""
        codecs, suites = codecs_of(self._settings), self._settings.suites
        return trunk_offer(audio.address, audio.port, audio.key, session_id=row.row, codecs=codecs, suites=suites)

    def edges(self, row: PlanRow) -> EdgePools:
        """Return the connections to the customer's edges."""
        return self.pool

    def invite(self, row: PlanRow, sdp: bytes, edge: int = 0) -> Request:
        """Return the trunk's INVITE to an edge of the customer."""
        places = self._settings.inbound_edges
        return inbound_invite(
            self.agent.ids,
            called=dialled_number(row.row),
            caller=pstn_number(row.call),
            domain=self._settings.domain,
            trunk=self._edge,
            contact=self._edge,
            customer=Place(places[edge].host, places[edge].port),
            legs=LegIds(uuid.uuid4().hex, uuid.uuid4().hex, self._settings.name),
            sdp=sdp,
            records_route=self._records_route,
            transport=self.agent.user_agent.transport,
            outer_transport=self._settings.transport,
        )


class Pstn:
    """All inbound calls of a run, from `begin` to `finish`. There is one line for each trunk."""

    def __init__(
        self, plan: Plan, lines: Sequence[PstnLine], admit: Admit, zero: float, observer: Observer | None = None
    ) -> None:
        """Make the calls of a plan. `observer` is told when one begins and when it is over."""
        observer = observer or Observer()
        self._plan = plan
        self._admit = admit
        self._zero = zero
        self._lines = lines
        self._callers = [Caller(line, zero) for line in lines]
        self._pacer = Pacer(asyncio.get_running_loop().time)
        self._dialler = Dialler(
            plan,
            self._pacer,
            partial(_InboundCall, self),
            on_begin=observer.attempt_began,
            on_end=observer.attempt_ended,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def instants(self) -> Sequence[Instant]:
        """Return for each attempt when it was due and when it began."""
        return self._pacer.instants

    def begin(self) -> None:
        """Place the plan's inbound calls at their instants."""
        self._dialler.dial(row for row in self._plan.first_attempts() if row.direction is Direction.INBOUND)
        self._task = asyncio.create_task(self._pacer.run(self._zero))

    async def finish(self, *, stop: bool) -> list[Record]:
        """Wait for the last inbound call, or with `stop` end all of them. Return the records."""
        if stop:
            self._pacer.stop()
            for caller in self._callers:
                caller.stop()
        if self._task is not None:
            await self._task
        for line in self._lines:
            # After the last call: their BYEs need the connections.
            await line.pool.close()
        return self._dialler.records

    async def place(self, row: PlanRow, record: Record) -> None:
        """Carry one attempt from now to its end."""
        line, caller = self._lines[row.trunk], self._callers[row.trunk]
        # A refused call has no INVITE, but was placed now. `PlannedCall` sets it again when it sends.
        record.sent_s = caller.now_s()
        try:
            reservation = line.reservations[row.row] = await self._admit(row)
        except CallRefused as refused:
            refusal = refused.refusal
            assert refusal.disposition is not None  # An `Admit` asks only limits, and these set it.
            record.disposition, record.status, record.cause = refusal.disposition, refusal.status, refusal.cause
            record.retry_after_s = refusal.retry_after_s
            record.ended_s = caller.now_s()
            return
        try:
            await PlannedCall(caller, row, record).carry()
        finally:
            reservation.close()
            del line.reservations[row.row]


@dataclass(frozen=True, slots=True)
class _InboundCall:
    """One attempt from the PSTN. It is a dialler's `Attempt`. It prepares nothing before it is admitted."""

    pstn: Pstn
    row: PlanRow
    record: Record

    def prepare(self) -> None: ...

    def start(self) -> None: ...

    async def finish(self) -> None:
        await self.pstn.place(self.row, self.record)

    def drop(self) -> None: ...
