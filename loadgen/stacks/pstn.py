"""Calls from the PSTN through the embedded trunk to its customers, as the operator's document shows them.

The PSTN's callers meet the same throttle, ports and channels as everybody; who passes is called over the trunk's own
TLS connection to the customer. Refusals never reach the customer, but have their records here.
"""

from __future__ import annotations

import asyncio
import uuid

from loadgen.audio import Audio, codecs_of
from loadgen.caller import Caller
from loadgen.certificates import client_context
from loadgen.dialler import Dialler
from loadgen.guard import Guard
from loadgen.net import Connector
from loadgen.numbers import pstn_number
from loadgen.pacer import Pacer
from loadgen.pool import ConnectionPool
from loadgen.sip.invite import LegIds, Place, inbound_invite, trunk_offer
from loadgen.sip.message import Request
from loadgen.sip.sdp import SessionDescription
from loadgen.stacks.embedded.gate import Denial
from loadgen.stacks.embedded.trunk import EmbeddedTrunk, Seat
from models.plan import PlanRow, dialled_number
from models.records import Direction, Record
from models.traffic import TlsPolicy


class InboundLine:
    """How the trunk calls one of its customers."""

    def __init__(self, trunk: EmbeddedTrunk, index: int) -> None:
        self._trunk = trunk
        self._settings = trunk.study.trunks[index]
        customer = str(self._settings.customer_address)
        context = client_context(trunk.authority.ca_file, keylog=trunk.keylog)
        target = Guard().check(customer, self._settings.customer_port, 0.0)
        connector = Connector(context, customer, trunk.host)
        self.agent = trunk.agent
        self.pool = ConnectionPool(connector, target, TlsPolicy.PERSISTENT)
        self.ports_per_call = trunk.study.pop.ports.legs
        self.throttle_status = self._settings.throttle.refusal_status
        self.throttle_retries = self._settings.throttle.retry_after_s is not None
        self.seats: dict[int, Seat] = {}

    def open_audio(self, row: PlanRow) -> Audio:
        """The trunk's end of the audio, on the ports that the call was given at the gate."""
        return self.seats[row.row].open_audio()

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """The trunk's offer: telephone-event 96, `a=rtcp`."""
        codecs = codecs_of(self._settings)
        return trunk_offer(
            audio.address, audio.port, audio.key, session_id=row.row, codecs=codecs, suite=self._settings.suites[0]
        )

    def invite(self, row: PlanRow, sdp: bytes) -> Request:
        """The trunk's INVITE to the customer."""
        edge = Place(self._trunk.host, self._trunk.edge.address[1])
        return inbound_invite(
            self.agent.ids,
            called=dialled_number(row.row),
            caller=pstn_number(row.call),
            account=self._settings.account,
            trunk=edge,
            contact=edge,
            customer=Place(str(self._settings.customer_address), self._settings.customer_port),
            legs=LegIds(uuid.uuid4().hex, uuid.uuid4().hex, self._settings.name),
            sdp=sdp,
        )


class Pstn:
    """All inbound calls of a run, from `begin` to `finish`."""

    def __init__(self, trunk: EmbeddedTrunk, zero: float) -> None:
        self._trunk = trunk
        self._zero = zero
        self._callers = [Caller(InboundLine(trunk, index), zero) for index in range(len(trunk.study.trunks))]
        self._pacer = Pacer(asyncio.get_running_loop().time)
        self._dialler = Dialler(trunk.plan, self._pacer, self._place)
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Place the plan's inbound calls at their instants."""
        rows = [row for row in self._trunk.plan.first_attempts() if row.direction is Direction.INBOUND]
        self._dialler.dial(rows)
        self._task = asyncio.create_task(self._pacer.run(self._zero))

    async def finish(self, *, stop: bool) -> list[Record]:
        """Wait for the last inbound call (or, with `stop`, end them all), and give the records."""
        if stop:
            self._pacer.stop()
            for caller in self._callers:
                caller.stop()
        if self._task is not None:
            await self._task
        for caller in self._callers:
            await caller.line.pool.close()
        return self._dialler.records

    async def _place(self, row: PlanRow, record: Record) -> None:
        gate, caller = self._trunk.gate, self._callers[row.trunk]
        line = caller.line
        assert isinstance(line, InboundLine)
        record.sent_s = caller.now_s()
        delay_s = gate.throttle(row.trunk, Direction.INBOUND, self._trunk.now())
        if not isinstance(delay_s, Denial) and delay_s > 0:
            await asyncio.sleep(delay_s)
        ports = delay_s if isinstance(delay_s, Denial) else gate.reserve(self._trunk.now())
        if isinstance(ports, Denial):
            record.disposition, record.status, record.cause = ports.disposition, ports.status, ports.cause
            record.retry_after_s = ports.retry_after_s
            record.ended_s = caller.now_s()
            return
        seat = line.seats[row.row] = Seat(self._trunk, row, ports)
        try:
            await caller.place(row, record)
        finally:
            seat.close()
            del line.seats[row.row]
