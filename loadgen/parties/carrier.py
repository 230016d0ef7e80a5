"""Play the carrier behind a foreign stack: the called side in the PSTN, and the callers from the PSTN.

The carrier has its own address and certificate, and keeps the carrier's limits (channels, calls per second). It is a
part of the load generator, so it judges its own health.

An inbound call takes its channel before the stack sees the call. In the model it takes it after the throttle, because
the model checks the limits of both directions in the same order.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, AudioFactory
from trunkproof.loadgen.parties.incoming import Answerer
from trunkproof.loadgen.parties.pstn import Pstn, PstnLine
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.certificates import Authority, client_context, server_context
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.endpoints import Connector, TlsServer, serve_tls
from trunkproof.loadgen.tls.pool import ConnectionPool
from trunkproof.loadgen.verdict import GeneratorVerdict, HealthProbe, Measurements, judge
from trunkproof.models.limits import CarrierLimits
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import Direction, Record
from trunkproof.models.traffic import TlsPolicy


class Carrier:
    """One carrier, from `start` to `close`. `inner_port` is the port on which the stack takes inbound calls."""

    def __init__(
        self,
        plan: Plan,
        authority: Authority,
        *,
        inner_port: int,
        keylog: Path | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._plan = plan
        self._study = plan.study
        self._authority = authority
        self._inner = (str(self._study.pop.inner_address), inner_port)
        self._keylog, self._trace = keylog, trace
        self.host = str(self._study.pop.carrier.address)
        self.limits = CarrierLimits(self._study)
        self.answerer = Answerer(plan.row_dialled, self._admit)
        self.audio = AudioFactory(
            self.host,
            self._study,
            at_trunk=True,
            check_media=Guard().check_media,
            plain=self._study.pop.carrier.media == "rtp",
        )
        self._listener: TlsServer | None = None
        self._agent: SipAgent | None = None
        self._pstn: Pstn | None = None
        self.observer: Observer | None = None
        """Is told of the calls from the PSTN."""
        self._probe = HealthProbe(self.audio.cpu_clock)

    async def start(self) -> int:
        """Listen for the stack's calls, and return the port.

        Raises:
            LocalNetworkError: this machine has no such address, or no free port.
        """
        context = server_context(self._authority.issue(self.host), keylog=self._keylog)
        self._listener = await serve_tls(self.host, 0, context, self._connected)
        # The user agent is made after listening, because its Contact names this port.
        port = self._listener.address[1]
        user_agent = UserAgent(self.host, port, "trunkproof carrier")
        self._agent = SipAgent(user_agent, random.Random(), on_invite=self._invited, trace=self._trace)
        return port

    @property
    def agent(self) -> SipAgent:
        """Return the user agent of a started carrier."""
        if self._agent is None:
            raise RuntimeError("the carrier has not been started")
        return self._agent

    def begin(self, zero: float) -> None:
        """Schedule the plan's inbound calls after plan zero, and start to measure our own health."""
        self._probe.start()
        lines = [self._line_for(index) for index in range(len(self._study.trunks))]
        self._pstn = Pstn(self._plan, lines, self._admit_inbound, zero, self.observer)
        self._pstn.begin()

    def _line_for(self, index: int) -> PstnLine:
        """Return the line to one customer. It goes through the stack, which knows the customer by the Request-URI."""
        assert self._listener is not None
        host, port = self._inner
        context = client_context(self._authority.ca_file, keylog=self._keylog)
        target = Guard().check(host, port, 0.0)
        # One connection to each customer: the study's TLS policy is about the connections that customers open.
        pool = ConnectionPool(Connector(context, host, self.host), target, TlsPolicy.PERSISTENT)
        return PstnLine(self._study, index, self.agent, pool, Place(*self._listener.address), records_route=False)

    async def finish(self, *, stop: bool) -> tuple[list[Record], GeneratorVerdict]:
        """Return the records of the inbound calls, and the verdict on the carrier's health."""
        if self._pstn is None:
            return [], judge(Measurements())
        # The probe goes on until the last call has ended, and the verdict is about all of them.
        records = await self._pstn.finish(stop=stop)
        await self._probe.stop()
        verdict = judge(
            Measurements(
                lateness_s=[instant.lateness_s for instant in self._pstn.instants],
                loop_lag_s=self._probe.loop_lag_s,
                cpu_share=self._probe.cpu_share,
                media_lateness_p99_ms=self.audio.lateness_p99_ms,
            )
        )
        return records, verdict

    async def close(self) -> None:
        """Close everything at once."""
        await self.answerer.close()
        self.audio.close()
        if self._listener is not None:
            await self._listener.close()

    def _connected(self, connection: Connection) -> None:
        self.agent.attach(connection)

    def _invited(self, incoming: IncomingCall) -> None:
        self.answerer.take(self.agent, incoming)

    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> ChannelReservation:
        return self._take(row, Direction.OUTBOUND)

    async def _admit_inbound(self, row: PlanRow) -> ChannelReservation:
        return self._take(row, Direction.INBOUND)

    def _take(self, row: PlanRow, direction: Direction) -> ChannelReservation:
        refusal = self.limits.take(row.trunk, asyncio.get_running_loop().time())
        if refusal is not None:
            raise CallRefused(Refusal.of(refusal, direction))
        return ChannelReservation(self, row)


class ChannelReservation:
    """One call's channel of the carrier."""

    def __init__(self, carrier: Carrier, row: PlanRow) -> None:
        self._carrier = carrier
        self._row = row

    def open_audio(self) -> Audio:
        """Return audio on ports of the carrier."""
        return self._carrier.audio.open(self._row)

    def close(self) -> None:
        """Release the channel."""
        self._carrier.limits.give_back(self._row.trunk, asyncio.get_running_loop().time())
