"""Play the carrier behind a foreign stack: the called side in the PSTN, and the callers from the PSTN.

The carrier has its own address and certificate, and keeps the carrier's limits (channels, calls per second). It is a
part of the load generator, so it judges its own health. Behind a stack of ours it also places the plan's inbound calls.
Alone (`trunkproof answer`) it waits for a stack that others run. It answers the plan's numbers and those of the study's
destinations, each as its far end is described, and 404 for any other.

An inbound call takes its channel before the stack sees the call. In the model it takes it after the throttle, because
the model checks the limits of both directions in the same order.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from pathlib import Path

from trunkproof.loadgen.guard import LOOPBACK_ONLY, Guard
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, AudioFactory
from trunkproof.loadgen.parties.call_book import BookedReservation, CallBook, OnCall
from trunkproof.loadgen.parties.called import Called, ListedNumbers
from trunkproof.loadgen.parties.incoming import Answerer, Reservation
from trunkproof.loadgen.parties.pstn import Pstn, PstnLine
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.parties.strangers import StrangerRefuser
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.endpoints import Connector, TlsServer, serve_tls
from trunkproof.loadgen.tls.limiter import ConnectionLimiter
from trunkproof.loadgen.tls.pool import ConnectionPool
from trunkproof.loadgen.verdict import GeneratorVerdict, HealthProbe, Measurements, judge
from trunkproof.models.limits import CarrierLimits
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import Direction, Record
from trunkproof.models.traffic import TlsPolicy

_LAST_WORDS_S = 4.0
"""How long a carrier that ends waits for the answers to its BYEs."""


class Carrier:
    """One carrier, from `start` to `close`."""

    def __init__(
        self,
        plan: Plan,
        authority: Authority,
        *,
        inner_port: int | None = None,
        port: int = 0,
        certificate: CertificateFiles | None = None,
        guard: Guard = LOOPBACK_ONLY,
        on_call: OnCall | None = None,
        keylog: Path | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Make a carrier that does not listen yet.

        Args:
            plan: names the numbers, and how their calls go.
            authority: issues its certificate, and signed the stack's.
            inner_port: where the stack takes inbound calls. None: the carrier places none.
            port: where it listens. 0: any free one.
            certificate: what it shows. None: one of the authority's.
            guard: decides who may call beside this machine, and where audio may go.
            on_call: is called with each call when it is over. None: no such records are made.
            keylog: the file to which TLS secrets are appended.
            trace: is told every SIP message.
        """
        self._plan = plan
        self._study = plan.study
        self._authority, self._certificate = authority, certificate
        self._inner_port, self._port = inner_port, port
        self._keylog, self._trace = keylog, trace
        self.host = str(self._study.pop.carrier.address)
        self.limits = CarrierLimits(self._study)
        self._listed = [ListedNumbers(plan, index, Direction.OUTBOUND) for index in range(len(self._study.trunks))]
        self.answerer = Answerer(plan.row_dialled, self._admit, listed=self._find_listed)
        self._book: CallBook | None = None
        if on_call is not None:
            zero = asyncio.get_running_loop().time()
            self._book = CallBook(zero, on_call, self._study.trunks[0].name, us="the carrier")
        self.limiter = ConnectionLimiter(guard.knows)
        self._strangers = StrangerRefuser(self.limiter, on_refused=self._refused_stranger, trace=trace)
        self.audio = AudioFactory(
            self.host,
            self._study,
            at_trunk=True,
            check_media=guard.check_media,
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
        self._listener = await serve_tls(self.host, self._port, self._context(), self._connected, limiter=self.limiter)
        # The user agent is made after listening, because its Contact names this port.
        port = self._listener.address[1]
        user_agent = UserAgent(self.host, port, "trunkproof carrier", transport=self._study.pop.carrier.transport)
        self._agent = SipAgent(
            user_agent,
            random.Random(),
            on_invite=self._invited,
            on_event=None if self._book is None else self._book.happened,
            limiter=self.limiter,
            trace=self._trace,
        )
        return port

    def _context(self) -> ssl.SSLContext | None:
        if self._study.pop.carrier.transport == "tcp":
            return None
        return server_context(self._certificate or self._authority.issue(self.host), keylog=self._keylog)

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
        assert self._inner_port is not None, "a carrier that is alone places no calls"
        host = str(self._study.pop.inner_address)
        context = client_context(self._authority.ca_file, keylog=self._keylog)
        target = Guard().check(host, self._inner_port, 0.0)
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
        if self._book is not None:
            self._book.close()
        self.audio.close()
        if self._listener is not None:
            await self._listener.close()

    async def hang_up(self) -> None:
        """End every call with a BYE or a refusal, and wait a moment for the answers."""
        if self._book is not None:
            self._book.stopping = True
        self.answerer.stop()
        await self.answerer.ended(_LAST_WORDS_S)

    def _connected(self, connection: Connection) -> None:
        if self.limiter.is_known(connection.peer[0]):
            self.agent.attach(connection)
        else:
            self._strangers.attach(connection)

    def _refused_stranger(self, invite: Request, _: str) -> None:
        if self._book is not None:
            self._book.refused_stranger(invite, asyncio.get_running_loop().time())

    def _find_listed(self, number: str) -> Called | None:
        return next((called for listed in self._listed if (called := listed.called(number)) is not None), None)

    def _invited(self, incoming: IncomingCall) -> None:
        if self._book is not None:
            self._book.came(incoming, asyncio.get_running_loop().time())
        self.answerer.take(self.agent, incoming)

    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> Reservation:
        if (book := self._book) is None:
            return self._take(row, Direction.OUTBOUND)
        planned = row.row in self._plan.rows
        book.asked(incoming, row, self._study.trunks[row.trunk].name, planned=planned)
        if not planned:
            book.listed(incoming, row, self._listed[row.trunk].far_end(row))
        try:
            reservation = self._take(row, Direction.OUTBOUND)
        except CallRefused as refused:
            book.refused(incoming, refused)
            raise
        book.admitted(incoming, ports=1)
        return BookedReservation(reservation, incoming, book)

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
