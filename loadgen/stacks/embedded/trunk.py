"""The embedded trunk: a PoP in one process, with a TLS edge, the study's limits, and the called side in the PSTN.

Real sockets, real TLS, SRTP terminated and re-originated; what the PSTN does with a call is written in the plan's row
that the dialled number names. Calls *from* the PSTN are `pstn`'s, limits are `gate`'s.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path

from loadgen.agent import IncomingCall, SipAgent
from loadgen.answerer import Answerer, Rejection
from loadgen.audio import Audio, AudioDesk, NoPortError
from loadgen.certificates import Authority, CertificateFiles, server_context
from loadgen.connection import Connection
from loadgen.guard import Guard
from loadgen.net import TlsServer, serve_tls
from loadgen.sip.call import UserAgent
from loadgen.sip.fields import Uri
from loadgen.sip.invite import account_host
from loadgen.sip.message import Header
from loadgen.sip.trace import Trace
from loadgen.stacks.card import CustomerFiles, TrunkCard
from loadgen.stacks.embedded.gate import Denial, Gate
from models.plan import Plan, PlanRow
from models.records import Direction
from models.study import CarrierBrownOut, EdgeRestart


class EmbeddedTrunk:
    """One PoP at work, between `start` and `close`. Times are of the event loop's clock, the machine's monotonic
    one.
    """

    def __init__(
        self, plan: Plan, folder: Path, *, port: int = 0, keylog: Path | None = None, trace: Trace | None = None
    ) -> None:
        self.plan = plan
        self.study = plan.study
        self.host = str(self.study.pop.address)
        self.started = asyncio.get_running_loop().time()
        """Where the windows of a fixed throttle begin."""
        self.gate = Gate(self.study, anchor=self.started)
        self.authority = Authority(folder / "certificates")
        self.audio = AudioDesk(self.host, self.study, at_trunk=True, check_media=Guard().check_media)
        self.keylog = keylog
        """Where TLS secrets are appended, so that a capture can be decoded; nowhere unless asked for."""
        self.answerer = self.make_answerer()
        self._trace = trace
        self._port = port
        self._agent: SipAgent | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._edge: TlsServer | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._customers: dict[str, CustomerFiles] = {}

    def make_answerer(self) -> Answerer:
        """The called side in the PSTN, behind the gate."""
        return Answerer(self.plan.rows, self._admit)

    def edge_certificate(self) -> CertificateFiles:
        """What the edge shows: a certificate of the PoP's host name and address."""
        return self.authority.issue(self.study.pop.host, self.host)

    async def start(self) -> TrunkCard:
        """Listen; the card says where.

        Raises:
            OSError: the port is taken, or may not be used.
        """
        context = server_context(self.edge_certificate(), ca_file=self.authority.ca_file, keylog=self.keylog)
        self._edge = await serve_tls(self.host, self._port, context, self._connected)
        # Its Contact and Record-Route name the port that was really given.
        user_agent = UserAgent(self.host, self._edge.address[1], "trunkproof embedded trunk")
        self._agent = SipAgent(user_agent, random.Random(), on_invite=self._invited, trace=self._trace)
        for trunk in self.study.trunks:
            files = self.authority.issue(str(trunk.customer_address))
            self._customers[trunk.name] = CustomerFiles(
                certificate=str(files.cert_chain_pem.resolve()), key=str(files.key_pem.resolve())
            )
        return TrunkCard(
            server_name=self.study.pop.host,
            host=self.host,
            port=self._edge.address[1],
            ca_file=str(self.authority.ca_file.resolve()),
            customers=self._customers,
            study_digest=self.study.digest(),
        )

    @property
    def edge(self) -> TlsServer:
        """The TLS listener of a started trunk."""
        if self._edge is None:
            raise RuntimeError("the trunk has not been started")
        return self._edge

    @property
    def agent(self) -> SipAgent:
        """The user agent of a started trunk."""
        if self._agent is None:
            raise RuntimeError("the trunk has not been started")
        return self._agent

    async def close(self) -> None:
        """Let go of everything at once."""
        for timer in self._timers:
            timer.cancel()
        await self.answerer.close()
        self.audio.close()
        if self._edge is not None:
            await self._edge.close()

    def schedule_incidents(self, zero: float) -> None:
        """Let the study's incidents happen, counted from plan zero."""
        loop = asyncio.get_running_loop()
        for incident in self.study.pop.incidents:
            match incident:
                case EdgeRestart():
                    begins, ends = self._edge_goes_down, self._edge_comes_back
                    over = incident.at_s + incident.down_s
                case CarrierBrownOut():
                    begins, ends = partial(self._set_channels, incident.channels), self._restore_channels
                    over = incident.at_s + incident.lasts_s
            self._timers.append(loop.call_at(zero + incident.at_s, begins))
            self._timers.append(loop.call_at(zero + over, ends))

    def _edge_goes_down(self) -> None:
        self.edge.pause()
        self.edge.drop_all()

    def _edge_comes_back(self) -> None:
        self._resuming = asyncio.create_task(self.edge.resume())

    def _set_channels(self, channels: int) -> None:
        self.gate.limits.channels_limit = channels

    def _restore_channels(self) -> None:
        self.gate.limits.channels_limit = self.study.pop.carrier.channels

    def _connected(self, connection: Connection) -> None:
        self.agent.attach(connection)

    def _invited(self, incoming: IncomingCall) -> None:
        self.answerer.take(self.agent, incoming)

    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> Seat:
        """The gate, as an outbound INVITE meets it."""
        trunk = self._trunk_of(incoming)
        denial = self.gate.whitelisted(trunk, incoming.source)
        if denial is not None:
            raise refusal(denial)
        delay_s = self.gate.throttle(trunk, Direction.OUTBOUND, self.now())
        if isinstance(delay_s, Denial):
            raise refusal(delay_s)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        ports = self.gate.reserve(self.now())
        if isinstance(ports, Denial):
            raise refusal(ports)
        return Seat(self, row, ports)

    def _trunk_of(self, incoming: IncomingCall) -> int:
        """The trunk whose account stands in From; the first one for a caller of no account."""
        domain = Uri.parse(incoming.call.invite.from_.uri).host
        accounts = [account_host(trunk.account) for trunk in self.study.trunks]
        return accounts.index(domain) if domain in accounts else 0

    def now(self) -> float:
        """The event loop's clock."""
        return asyncio.get_running_loop().time()


class Seat:
    """What an admitted call holds: its ports and a carrier channel."""

    def __init__(self, trunk: EmbeddedTrunk, row: PlanRow, ports: tuple[int, ...]) -> None:
        self._trunk = trunk
        self._row = row
        self._ports = ports

    def open_audio(self) -> Audio:
        """The trunk's end of the call's audio, on the first of its ports."""
        first, *others = self._ports
        try:
            audio, bound = self._trunk.audio.open_on(first, self._other_port, self._row)
        except NoPortError:
            self._ports = tuple(others)
            raise
        self._ports = (bound, *others)
        return audio

    def _other_port(self, taken: int) -> int | None:
        return self._trunk.gate.limits.pool.withdraw(taken, self._trunk.now())

    def close(self) -> None:
        """Give ports and channel back."""
        self._trunk.gate.limits.give_back(self._ports, self._trunk.now())


def refusal(denial: Denial) -> Rejection:
    """A denial as a SIP response: status, Reason (RFC 3326) and, where there is one, Retry-After."""
    headers: list[Header] = [("Reason", f"Q.850;cause={denial.cause}")]
    if denial.retry_after_s is not None:
        headers.append(("Retry-After", str(denial.retry_after_s)))
    return Rejection(denial.status, tuple(headers))
