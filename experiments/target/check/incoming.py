"""The check of calls to us: wait for the operator's test call at the customer's port, answer it, and tell what came.

The call is answered by the load generator's own answering side. It stays up until the caller hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from trunkproof.experiments.target.check.findings import CheckName, CheckReport, Checks
from trunkproof.experiments.target.check.judging import AUDIO, judge_heard
from trunkproof.experiments.target.check.path import Ends, judge_descriptions
from trunkproof.experiments.target.check.wiretap import Trail, Wiretap
from trunkproof.experiments.target.remedies import PathFault, Status
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, AudioFactory
from trunkproof.loadgen.parties.called import Called
from trunkproof.loadgen.parties.incoming import Answerer
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.fields import MalformedFieldError, Uri, uri_host
from trunkproof.loadgen.sip.mask import mask, mask_call_id
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.loadgen.system.ports import cannot_listen
from trunkproof.loadgen.tls.certificates import Authority, server_context
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.endpoints import LocalNetworkError, TlsServer, serve_tls
from trunkproof.models.errors import GuardError
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import Direction, FarEnd
from trunkproof.models.study import Study

RINGS_S = 1.0
_LOOK_S, _LAST_WORDS_S = 0.1, 4.0
_CALL_SID = "X-Exotel-CallSid"
_SUBJECT = "call to us"


@dataclass(frozen=True)
class InboundOptions:
    """How long a check of calls to us waits, and for which trunk."""

    trunk: int = 0
    wait_s: float = 300.0
    longest_s: float = 120.0
    """A call that is still up after so long is hung up."""


@dataclass
class _Came:
    """The call that came in."""

    source: str
    call: ServerCall
    audio: Audio | None = None
    is_acknowledged: bool = False
    report: MediaReport = field(default_factory=MediaReport)


class _Reservation:
    """The telephone that the call rings."""

    def __init__(self, came: _Came, factory: AudioFactory, row: PlanRow) -> None:
        self._came, self._factory, self._row = came, factory, row

    def open_audio(self) -> Audio:
        """Return audio on a free port pair."""
        self._came.audio = self._factory.open(self._row)
        return self._came.audio

    def close(self) -> None:
        """Note what was heard."""
        if self._came.audio is not None:
            self._came.report = self._came.audio.report


class _Listener:
    """Answers calls to one trunk's customer, and keeps what is seen of the first."""

    def __init__(self, study: Study, index: int, options: RunOptions, tap: Wiretap) -> None:
        self._trunk = study.trunks[index]
        self._index, self._options = index, options
        self.address = str(self._trunk.customer_address)
        self.told = str(self._trunk.external_address or self.address)
        self.came: _Came | None = None
        self._audio = AudioFactory(
            self.address, study, at_trunk=False, check_media=self._check_media, told_address=self.told
        )
        # With an echo the caller hears whether both directions work.
        self._answerer = Answerer(
            lambda number: None, self._admit, listed=lambda number: Called(self._row(), FarEnd.ECHO)
        )
        self.agent = SipAgent(
            UserAgent(self.told, self._trunk.customer_port, transport=self._trunk.transport),
            random.Random(),
            on_invite=self._invited,
            on_event=self._told,
            trace=tap,
        )
        self.connections: list[Connection] = []
        self._server: TlsServer | None = None

    @property
    def place(self) -> str:
        """Return where it listens."""
        return f"{uri_host(self.address)}:{self._trunk.customer_port}"

    @property
    def failures(self) -> str:
        """Return the handshakes that failed, in words."""
        counts = {} if self._server is None else self._server.failures
        return ", ".join(f"{count} {failure}" for failure, count in counts.items())

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the block runs.

        Raises:
            StackError: the port cannot be had.
        """
        shows, context = self._options.client_certificate, None
        if self._trunk.is_tls:
            with tempfile.TemporaryDirectory(prefix="trunkproof-") as folder:
                context = server_context(shows or Authority(Path(folder)).issue(self.address))
        port = self._trunk.customer_port
        try:
            self._server = await serve_tls(self.address, port, context, self._connected)
        except LocalNetworkError as error:
            raise cannot_listen("the customer", self.address, port, error.__cause__) from error
        try:
            yield
        finally:
            await self._answerer.close()
            await self._server.close()
            self._audio.close()

    @property
    def is_idle(self) -> bool:
        """Tell whether no call is under way."""
        return self._answerer.under_way == 0

    async def hang_up(self) -> None:
        """End a call that is still up, and wait for its end."""
        came = self.came
        if came is not None and not self.is_idle:
            self.agent.act(came.call.hang_up)
            for _ in range(int(_LAST_WORDS_S / _LOOK_S)):
                if self.is_idle:
                    return
                await asyncio.sleep(_LOOK_S)

    def _check_media(self, address: str) -> str:
        guard = self._options.guard
        try:
            return guard.check_media(address)
        except GuardError:
            # Audio may go to where the call comes from, as a caller's goes to its target.
            if self.came is not None and self.came.source == address:
                return address
            raise

    def _connected(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.agent.attach(connection)

    def _invited(self, incoming: IncomingCall) -> None:
        if self.came is None:
            self.came = _Came(incoming.source, incoming.call)
            self._answerer.take(self.agent, incoming)
        else:
            self.agent.act(lambda now: incoming.call.reject(now, 486))

    def _told(self, event: events.CallEvent) -> None:
        if self.came is not None and isinstance(event, events.Acknowledged):
            self.came.is_acknowledged = True

    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> _Reservation:
        assert self.came is not None
        return _Reservation(self.came, self._audio, row)

    def _row(self) -> PlanRow:
        return PlanRow.unplanned(0, self._index, Direction.INBOUND, ring_s=RINGS_S)


async def check_inbound(
    study: Study,
    options: RunOptions,
    inbound: InboundOptions | None = None,
    ready: Callable[[str], None] = lambda place: None,
    stop: asyncio.Event | None = None,
) -> CheckReport:
    """Wait for one call to a trunk's customer, answer it, and return what was seen. `ready` is told where to call.

    Raises:
        StackError: the customer cannot listen at its address and port.
    """
    inbound, stop = inbound or InboundOptions(), stop or asyncio.Event()
    clock = asyncio.get_running_loop().time
    tap, trunk = Wiretap(clock), study.trunks[inbound.trunk]
    listener = _Listener(study, inbound.trunk, options, tap)
    checks = Checks(_SUBJECT)
    async with listener.listening():
        ready(listener.place)
        until = clock() + inbound.wait_s
        while not stop.is_set() and clock() < until and (listener.came is None or not listener.is_idle):
            if listener.came is not None:
                until = min(until, clock() + inbound.longest_s)
            await asyncio.sleep(_LOOK_S)
        await listener.hang_up()
        came = listener.came
        _reachable(listener, checks, inbound.wait_s)
    # Now the audio's report is there, also of a call that we hung up.
    if came is not None:
        _judge(came, tap.trail(came.call.invite.call_id), listener, checks)
    reached = bool(listener.connections)
    return CheckReport(study.name, trunk.name, f"calls to {listener.place}", tuple(checks), is_reached=reached)


def _reachable(listener: _Listener, checks: Checks, wait_s: float) -> None:
    if listener.connections:
        peers = ", ".join(dict.fromkeys(connection.peer[0] for connection in listener.connections))
        one = listener.connections[-1]
        checks.holds(CheckName.REACHABLE, f"{peers} connected to {listener.place}: {one.version}, {one.cipher}")
    else:
        tried = f"; handshakes that failed: {listener.failures}" if listener.failures else ""
        words = f"nobody connected to {listener.place} within {wait_s:g} s{tried}"
        checks.broken(CheckName.REACHABLE, words, PathFault.CONTACT_UNREACHABLE)
    if listener.came is None:
        checks.not_tried("no INVITE came", CheckName.CALL)


def _judge(came: _Came, trail: Trail, listener: _Listener, checks: Checks) -> None:
    invite = trail.first
    assert invite is not None, "an INVITE has come"
    answer = next((one.message for one in trail.seen if one.is_ours and _is_success(one.message)), None)
    _outcome(came, trail, invite, checks)
    sid = invite.headers.get(_CALL_SID)
    names = [f"{name} {mask(value)}" for name, value in invite.headers if name.lower().startswith("x-exotel")]
    words = "; ".join([f"Call-ID {mask_call_id(came.call.invite.call_id)}", *names])
    if sid is None:
        checks.remark(CheckName.IDENTIFIERS, f"{words}; no {_CALL_SID}", PathFault.NO_CALL_SID)
    else:
        checks.holds(CheckName.IDENTIFIERS, words)
    _request_uri(invite, listener, checks)
    ends = Ends(listener.told, listener.address, came.source)
    judge_descriptions(trail, came.report, ends, checks)
    if answer is None:
        checks.not_tried("the call was not answered", *AUDIO, CheckName.ACK)
        return
    judge_heard(came.report, FarEnd.PLAYS, checks)
    if came.is_acknowledged:
        checks.holds(CheckName.ACK, "came")
    else:
        checks.broken(CheckName.ACK, "the ACK of our 200 did not come", PathFault.ACK_LOST)


def _is_success(message: Request | Response) -> bool:
    return isinstance(message, Response) and 200 <= message.status < 300 and message.cseq.method == "INVITE"


def _outcome(came: _Came, trail: Trail, invite: Request, checks: Checks) -> None:
    sent = [one.message.status for one in trail.seen if one.is_ours and isinstance(one.message, Response)]
    statuses = ", ".join(map(str, dict.fromkeys(sent)))
    caller, dialled = mask(invite.from_.uri), mask(invite.uri)
    seen = f"from {came.source}: {caller} called {dialled}; we answered {statuses}"
    if 200 in sent:
        checks.holds(CheckName.CALL, seen)
    else:
        refused = next((status for status in sent if status >= 300), None)
        checks.broken(CheckName.CALL, seen, None if refused is None else Status(refused))


def _request_uri(invite: Request, listener: _Listener, checks: Checks) -> None:
    try:
        uri = Uri.parse(invite.uri)
    except MalformedFieldError as error:
        checks.broken(CheckName.CONTACT, f"the Request-URI cannot be read: {error}", PathFault.CONTACT_CHANGED)
        return
    known = {uri_host(listener.address), uri_host(listener.told)}
    if uri_host(uri.host) in known:
        checks.holds(CheckName.CONTACT, f"the Request-URI names us: {uri.host}:{uri.port or ''}")
    else:
        checks.remark(CheckName.CONTACT, f"the Request-URI names {uri.host}, and we are {listener.told}")
