"""A manual clock for the event loop, and parties that follow a script: calls are tested in no time, to the instant."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.agent import CallEvents
from trunkproof.loadgen.parties.audio import MediaAddressError, NoPortError
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.exchange import Negotiator
from trunkproof.loadgen.sip.invite import customer_offer
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.offer_answer import Capability, Negotiated, SdpFault, negotiate
from trunkproof.loadgen.sip.reason import EndReason
from trunkproof.loadgen.sip.sdes import KEY_BYTES
from trunkproof.loadgen.sip.sdp import SessionDescription, write_sdp
from trunkproof.loadgen.tls.connection import ConnectError, ConnectFailure
from trunkproof.loadgen.tls.edges import EdgePools
from trunkproof.loadgen.tls.pool import Lease
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import ConnectionKind, Direction, Disposition, FarEnd, Record
from trunkproof.models.refusals import RefusalRules
from trunkproof.models.throttles.fixed_window import FixedWindow

T = TypeVar("T")
HOST = "127.0.0.1"
STRANGER = "192.0.2.9"
"""An address that gets no audio."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for the next timer, puts the clock forward to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("every task waits, and no timer is set: nothing will ever happen")
        if not ready and timeout:
            self.now += timeout
        return ready


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while something is done, and jumps while nothing is."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_manually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a `ManualLoop`, whose clock begins at 0."""
    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        return runner.run(main)


def row(outcome: Outcome = Outcome.ANSWERED, **values: Any) -> PlanRow:
    """A first attempt that is set up in 0.1 s, rings for 2 s and is talked on for 10 s."""
    settings: dict[str, Any] = {
        "row": 7,
        "call": 7,
        "attempt": 0,
        "trunk": 0,
        "direction": Direction.OUTBOUND,
        "place_s": 0.0,
        "redial_delay_s": None,
        "next_row": None,
        "redial_after": 0,
        "outcome": outcome,
        "status": {Outcome.BUSY: 486, Outcome.NO_ANSWER: 480, Outcome.ABANDONED: 487}.get(outcome, 200),
        "setup_s": 0.1,
        "ring_s": 2.0,
        "hold_s": 10.0,
        "resumes": False,
    }
    return PlanRow(**settings | values)


def record_of(planned: PlanRow) -> Record:
    return Record(
        row=planned.row,
        call=planned.call,
        attempt=planned.attempt,
        trunk="t",
        direction=planned.direction,
        disposition=Disposition.STILL_UP,
        intended_s=planned.place_s or 0.0,
    )


class ScriptedAudio:
    """Audio that hears as much as it sends, without a packet."""

    address, port, key, secure = HOST, 50_000, b"\1" * KEY_BYTES, True

    def __init__(self) -> None:
        self.report = MediaReport(sent=500, received=500, authenticated=500)
        self.digits = self.digits_sent = ""
        self.notes: list[str] = []
        self.followed: list[MediaAgreement] = []

    def offer(self) -> SessionDescription:
        return customer_offer(HOST, self.port, self.key, session_id=7)

    def answer(self, offer: SessionDescription, previous: SessionDescription | None = None) -> Negotiated | SdpFault:
        return negotiate(offer, Capability(address=HOST, port=50_002, key=b"\2" * KEY_BYTES), previous)

    def listen(self) -> None:
        self.notes.append("listen")

    def check(self, agreement: MediaAgreement) -> None:
        if agreement.remote_address == STRANGER:
            raise MediaAddressError(f"no audio is sent to {STRANGER}")

    def answered(self) -> None:
        self.notes.append("answered")

    def follow(self, agreement: MediaAgreement, *, early: bool = False) -> None:
        self.notes.append("early" if early else "follow")
        self.followed.append(agreement)

    def stop(self) -> None:
        self.notes.append("stop")

    def close(self) -> None:
        self.notes.append("close")


class ScriptedCall:
    """A call at the caller's: what is done to it is noted, and answered as its agent's script says."""

    dialog = None

    def __init__(self, agent: ScriptedAgent, inbox: CallEvents) -> None:
        self.agent, self.inbox = agent, inbox
        self.connection_id: int | None = 1
        self.ended = False
        self.context: object = inbox
        self.negotiator: Negotiator | None = None

    def bye(self, now: float, reason: tuple[str, str] | None = None) -> None:
        self.agent.note("BYE" if reason is None else f"BYE {reason[1]}")
        if self.agent.answers_bye:
            self.inbox.put(events.Terminated(now, self, EndCause.LOCAL_BYE, 200))

    def hang_up(self, now: float) -> None:
        self.agent.note("CANCEL")
        if self.agent.answers_cancel:
            self.inbox.put(events.Cancelled(now, self, confirmed=True))


Make = Callable[[float, ScriptedCall], events.Event]


class ScriptedAgent:
    """A user agent that lets events of its script happen, each so long after the INVITE; `notes` has what was sent."""

    def __init__(self, *script: tuple[float, Make], answers_bye: bool = True, answers_cancel: bool = True) -> None:
        self._script = script
        self.answers_bye, self.answers_cancel = answers_bye, answers_cancel
        self.notes: list[tuple[float, str]] = []
        self.call: ScriptedCall | None = None

    def note(self, words: str) -> None:
        self.notes.append((round(asyncio.get_running_loop().time(), 6), words))

    def place(self, connection: object, invite: Request, inbox: CallEvents) -> ScriptedCall:
        self.note("INVITE")
        self.call = call = ScriptedCall(self, inbox)
        loop = asyncio.get_running_loop()
        for after_s, make in self._script:
            loop.call_later(after_s, lambda make=make: inbox.put(make(loop.time(), call)))
        return call

    def act(self, action: Callable[[float], None]) -> None:
        action(asyncio.get_running_loop().time())

    def move(self, call: ScriptedCall, connection: object) -> None:
        self.note("moved")
        call.connection_id = 2


class ScriptedPool:
    """Connections that come about at once, after some failures; or stand already."""

    def __init__(self, *, stands: bool = True, failures: int = 0) -> None:
        self._stands, self.failures = stands, failures
        self.leased = 0

    def standing(self, key: int) -> Lease | None:
        return self._lease() if self._stands else None

    async def acquire(self, key: int, resume: bool = False) -> Lease:
        if self.failures:
            self.failures -= 1
            raise ConnectError(ConnectFailure.REFUSED, "nobody listens there")
        return self._lease()

    def release(self, lease: Lease) -> None:
        self.leased -= 1

    def _lease(self) -> Lease:
        self.leased += 1
        return Lease(SimpleNamespace(closed=None), ConnectionKind.REUSED, 0.0)  # type: ignore[arg-type]


class ScriptedLine:
    """The line of a caller, over all of these."""

    ports_per_call, ring_patience_s, redirector, credentials, recorder = 2, 180.0, None, None, None
    refusals = RefusalRules.of(FixedWindow(), ours=True)

    def __init__(self, agent: ScriptedAgent, pool: ScriptedPool | None = None, *, has_port: bool = True) -> None:
        self.agent, self.pool, self._has_port = agent, pool or ScriptedPool(), has_port
        self._edges = EdgePools([self.pool])  # type: ignore[list-item]
        self.audio = ScriptedAudio()

    def far_end(self, planned: PlanRow) -> FarEnd:
        return FarEnd.PLAN

    def open_audio(self, planned: PlanRow) -> ScriptedAudio:
        if not self._has_port:
            raise NoPortError("no free UDP port pair")
        return self.audio

    def offer(self, planned: PlanRow, audio: ScriptedAudio) -> SessionDescription:
        return customer_offer(audio.address, audio.port, audio.key, session_id=planned.row)

    def edges(self, planned: PlanRow) -> EdgePools:
        return self._edges

    def invite(self, planned: PlanRow, sdp: bytes, edge: int = 0) -> Request:
        return Request("INVITE", "sip:+919876543210@trunk", [("Call-ID", "one@127.0.0.1")], sdp)


def ringing(at_s: float, call: ScriptedCall) -> events.Event:
    return events.Ringing(at_s, call, 180, b"")


def answered(at_s: float, call: ScriptedCall) -> events.Event:
    """With an SDP that fits the offer of a `ScriptedLine`."""
    offer = customer_offer(HOST, ScriptedAudio.port, ScriptedAudio.key, session_id=7)
    negotiated = ScriptedAudio().answer(offer)
    assert isinstance(negotiated, Negotiated)
    return answered_with(negotiated.answer)(at_s, call)


def answered_with(answer: SessionDescription | None) -> Make:
    """With that SDP, or none: the call's negotiator judges it, as a real call has it do."""

    def make(at_s: float, call: ScriptedCall) -> events.Event:
        body = b"" if answer is None else write_sdp(answer)
        assert call.negotiator is not None
        offer = customer_offer(HOST, ScriptedAudio.port, ScriptedAudio.key, session_id=7)
        fault = call.negotiator.accept(write_sdp(offer), body, "far")
        if fault is None:
            call.negotiator.confirm("far")
        return events.Answered(at_s, call, Response(200, "OK"), body, fault)

    return make


def rejected(status: int, cause: int | None = None, retry_after_s: float | None = None) -> Make:
    return lambda at_s, call: events.Rejected(at_s, call, status, "", retry_after_s, cause, Response(status, ""))


def hung_up(at_s: float, call: ScriptedCall) -> events.Event:
    """By the other side."""
    return events.Terminated(at_s, call, EndCause.REMOTE_BYE, None, EndReason(16, "Q.850;cause=16"))
