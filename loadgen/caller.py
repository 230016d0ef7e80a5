"""Places one planned call: connection, INVITE, ringing, answer, audio, BYE; and writes its record.

The same caller plays a customer who calls the trunk and, inside the embedded trunk, the PSTN that calls a customer; a
`Line` says how each of them connects and what its INVITE looks like. It never decides when to call: `run` does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from loadgen.agent import CallEvents, SipAgent, Stopped
from loadgen.audio import Audio, NoPortError, media_fault, note_media
from loadgen.connection import ConnectError
from loadgen.net import LocalNetworkError
from loadgen.pool import ConnectionPool, Lease
from loadgen.sip import events
from loadgen.sip.client_call import ClientCall
from loadgen.sip.events import EndCause
from loadgen.sip.message import Request
from loadgen.sip.offer_answer import judge_answer
from loadgen.sip.sdp import SessionDescription, write_sdp
from models.errors import GuardError, TrunkproofError
from models.plan import Outcome, PlanRow
from models.records import Disposition, Record
from models.refusals import disposition_of

_LAST_WORDS_S = 4.0
"""How long a stopped run waits for the response to a BYE or CANCEL before it lets the call go."""
_PATIENCE_S = 32.0
"""Beyond setup and ringing as planned, a caller waits as long as timer B does (RFC 3261 table 4)."""
_EDGE_BACK_S = 32.0
"""How long a BYE waits for an edge that is down; as long as timer F would (RFC 3261 table 4)."""
_RECONNECT_EVERY_S = 0.1
_GOOD_ENDS = {EndCause.LOCAL_BYE, EndCause.REMOTE_BYE, EndCause.BYE_REFUSED}
"""The call was up and is over; 481 says that the other side had ended it already."""


class Line(Protocol):
    """How one side of the trunk places its calls."""

    @property
    def agent(self) -> SipAgent:
        """The user agent that sends them."""

    @property
    def pool(self) -> ConnectionPool:
        """The TLS connections that they go out on."""

    @property
    def ports_per_call(self) -> int:
        """Port pairs of the PoP's pool that an admitted call holds."""

    @property
    def throttle_status(self) -> int:
        """The status of a refusal by the throttle."""

    @property
    def throttle_retries(self) -> bool:
        """Whether a refusal by the throttle is to carry Retry-After."""

    def open_audio(self, row: PlanRow) -> Audio:
        """Ports and a key for a call."""

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """The SDP that the INVITE carries."""

    def invite(self, row: PlanRow, sdp: bytes) -> Request:
        """The INVITE."""


class Caller:
    """Places calls over one line. `zero` is plan zero on the event loop's clock."""

    def __init__(self, line: Line, zero: float) -> None:
        self.line = line
        self.zero = zero
        self._loop = asyncio.get_running_loop()
        self._under_way: set[CallEvents] = set()
        self._stopping = False
        self.local_failures = 0
        """Attempts that this machine, not the trunk, could not carry."""

    async def place(self, row: PlanRow, record: Record) -> None:
        """Carry one attempt to its end and fill in its record, which has its identity and `intended_s`."""
        call_events = CallEvents()
        if self._stopping:
            call_events.put(Stopped())
        self._under_way.add(call_events)
        try:
            await _Attempt(self, row, record, call_events).run()
        finally:
            self._under_way.discard(call_events)

    def stop(self) -> None:
        """End every call under way with CANCEL or BYE; their records say `still_up`."""
        self._stopping = True
        for call_events in self._under_way:
            call_events.put(Stopped())

    def now_s(self) -> float:
        """Seconds after plan zero."""
        return self._loop.time() - self.zero


class _Wish(Enum):
    """What the caller wants of a call that is not answered yet."""

    ANSWER = auto()
    ABANDON = auto()
    """It is no longer waited for, as planned."""
    TIME_OUT = auto()
    """It is no longer waited for, because nothing comes."""
    STOP = auto()
    """The run is being ended."""


@dataclass(eq=False, slots=True)
class _Attempt:
    """One attempt under way."""

    caller: Caller
    row: PlanRow
    record: Record
    news: CallEvents
    wish: _Wish = _Wish.ANSWER

    async def run(self) -> None:
        pool = self.caller.line.pool
        try:
            lease = await pool.acquire(self.row.call, resume=self.row.resumes)
        except ConnectError as error:
            return self._end(Disposition.CONNECTION_FAILED, str(error))
        except LocalNetworkError as error:
            return self._fail_here(error)
        self.record.connection, self.record.connect_s = lease.kind, lease.connect_s
        try:
            await self._with_audio(lease)
        except NoPortError as error:
            return self._fail_here(error)
        finally:
            pool.release(lease)
        return None

    def _fail_here(self, error: TrunkproofError) -> None:
        """This machine, not the trunk, is at its limit: the record says so, and the generator is judged by it."""
        self.caller.local_failures += 1
        self._end(Disposition.CONNECTION_FAILED, f"this machine: {error}")

    async def _with_audio(self, lease: Lease) -> None:
        audio = self.caller.line.open_audio(self.row)
        try:
            await self._converse(lease, audio)
        finally:
            audio.close()

    async def _converse(self, lease: Lease, audio: Audio) -> None:
        line = self.caller.line
        offer = line.offer(self.row, audio)
        self.record.sent_s = self.caller.now_s()
        call = line.agent.place(lease.connection, line.invite(self.row, write_sdp(offer)), self.news)
        answer = await self._until_answered(call)
        if answer is None:
            return
        self.record.status, self.record.ports = 200, line.ports_per_call
        self.record.answered_s = answer.at_s - self.caller.zero
        fault = self._start_audio(audio, offer, answer.body)
        hang_up_at = answer.at_s + (self.row.hold_s if fault is None else 0.0)
        ended = await self._hold(call, hang_up_at)
        self.record.bye_s = self.caller.now_s()
        audio.stop()
        if not ended:
            ended = await self._hang_up(call, lease)
        note_media(self.record, audio.report)
        self._judge(ended, fault or media_fault(audio.report))

    def _start_audio(self, audio: Audio, offer: SessionDescription, body: bytes) -> str | None:
        """Send and expect audio as agreed; what is wrong with the answer, where it cannot be kept to."""
        judgement = judge_answer(offer, body)
        if not judgement.accepted or judgement.answer is None:
            return "; ".join(judgement.faults)
        try:
            audio.start(offer, judgement.answer)
        except GuardError as error:
            return str(error)
        return None

    async def _until_answered(self, call: ClientCall) -> events.Answered | None:
        """Follow the INVITE to its end: the answer, or `None` once the record says how it failed."""
        agent = self.caller.line.agent
        until: float | None = self._clock() + self.row.setup_s + self.row.ring_s + _PATIENCE_S
        while True:
            match await self.news.next(until):
                case None if self.wish is _Wish.STOP:
                    self._end(Disposition.STILL_UP, "CANCEL was not answered")
                    return None
                case None | Stopped() as signal:
                    self.wish = _Wish.STOP if signal else self._reason_to_leave()
                    agent.act(call.hang_up)
                    until = self._clock() + _LAST_WORDS_S if signal else None
                case events.Ringing(at_s=at_s) if self.record.ringing_s is None:
                    self.record.ringing_s = at_s - self.caller.zero
                    if self.row.outcome is Outcome.ABANDONED and self.wish is _Wish.ANSWER:
                        until = at_s + self.row.ring_s
                case events.Answered() as answer:
                    return answer
                case events.FinalEvent() as final:
                    self._failed(final)
                    return None

    def _reason_to_leave(self) -> _Wish:
        planned = self.row.outcome is Outcome.ABANDONED and self.record.ringing_s is not None
        return _Wish.ABANDON if planned else _Wish.TIME_OUT

    def _clock(self) -> float:
        return self.caller.zero + self.caller.now_s()

    def _failed(self, final: events.FinalEvent) -> None:
        """The INVITE ended without a call: note how."""
        match final:
            case _ if self.wish is _Wish.STOP:
                self._end(Disposition.STILL_UP)
            case events.Rejected():
                self._refused(final)
            case _ if isinstance(final, events.TimedOut) or self.wish is _Wish.TIME_OUT:
                self.record.status = 408
                self._end(Disposition.TIMED_OUT, f"no final response within {_PATIENCE_S:g} s")
            case events.Cancelled() | events.Terminated(cause=EndCause.CANCEL_GLARE):
                self.record.status, self.record.ports = 487, self.caller.line.ports_per_call
                self._end(Disposition.ABANDONED)
            case events.ConnectionLost():
                self._end(Disposition.CONNECTION_FAILED, "connection lost before the final response")
            case _:
                self._end(Disposition.CONNECTION_FAILED, f"protocol error: {final}")

    def _refused(self, final: events.Rejected) -> None:
        line, record = self.caller.line, self.record
        record.status, record.cause, record.retry_after_s = final.status, final.q850_cause, final.retry_after_s
        disposition = disposition_of(final.status, final.q850_cause, self.row, throttle_status=line.throttle_status)
        if disposition in {Disposition.BUSY, Disposition.NO_ANSWER} or final.status == self.row.status:
            record.ports = line.ports_per_call
        bare = disposition is Disposition.THROTTLED and line.throttle_retries and final.retry_after_s is None
        self._end(disposition, f"{final.status} without Retry-After" if bare else None)

    async def _hold(self, call: ClientCall, until: float) -> events.Terminated | None:
        """Stay in the call until it is time to hang up; the end, if the other side came first."""
        while True:
            match await self.news.next(until):
                case Stopped():
                    self.wish = _Wish.STOP
                    return None
                case None:
                    return None
                case events.Terminated() as ended:
                    return ended

    async def _hang_up(self, call: ClientCall, lease: Lease) -> events.Terminated | None:
        """Send BYE and wait for its response; `None` when none came."""
        if call.connection_id is None and not await self._reconnect(call):
            return None
        self.caller.line.agent.act(call.bye)
        until = self._clock() + _LAST_WORDS_S if self.wish is _Wish.STOP else None
        while True:
            match await self.news.next(until):
                case Stopped():
                    self.wish = _Wish.STOP
                    until = self._clock() + _LAST_WORDS_S
                case None:
                    return None
                case events.Terminated() as ended:
                    return ended

    async def _reconnect(self, call: ClientCall) -> bool:
        """Give a call whose connection is gone another one, waiting for an edge that is down."""
        until = self._clock() + (_LAST_WORDS_S if self.wish is _Wish.STOP else _EDGE_BACK_S)
        while self._clock() < until and not call.ended:
            try:
                lease = await self.caller.line.pool.acquire(self.row.call, resume=self.row.resumes)
            except ConnectError:
                await asyncio.sleep(_RECONNECT_EVERY_S)
                continue
            self.caller.line.agent.move(call, lease.connection)
            return True
        return False

    def _judge(self, ended: events.Terminated | None, fault: str | None) -> None:
        """The disposition of a call that was answered."""
        if self.wish is _Wish.STOP:
            self._end(Disposition.STILL_UP)
        elif fault is not None:
            self._end(Disposition.MEDIA_FAILED, fault)
        elif ended is None:
            self._end(Disposition.CONNECTION_FAILED, "no way to send the BYE: the trunk is gone")
        else:
            odd = ended.cause not in _GOOD_ENDS
            self._end(Disposition.COMPLETED, f"ended by {ended.cause.name}" if odd else None)

    def _end(self, disposition: Disposition, reason: str | None = None) -> None:
        self.record.disposition = disposition
        self.record.reason = self.record.reason or reason
        self.record.ended_s = self.caller.now_s()
