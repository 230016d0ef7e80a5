"""Carry one planned call: connection, INVITE, ringing, answer, audio, BYE. Fill in its record.

A call has three steps, and the dialler decides when each of them happens:

1. `prepare`, shortly before the call's instant: open ports and write the INVITE, so that no time is lost later.
2. `start`, at the instant: send the INVITE, if the connection is already open.
3. `finish`: connect if that is still needed, follow the call to its end, and note its disposition.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from enum import Enum, auto

from trunkproof.loadgen.parties.agent import CallEvents, Stopped
from trunkproof.loadgen.parties.audio import Audio, MediaAddressError, NoPortError, media_fault, note_media
from trunkproof.loadgen.parties.call_log import CallLog
from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.client_call import ClientCall
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.offer_answer import judge_answer
from trunkproof.loadgen.sip.sdp import SessionDescription, write_sdp
from trunkproof.loadgen.tls.connection import ConnectError
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.loadgen.tls.pool import Lease
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Disposition, Record
from trunkproof.models.refusals import disposition_of
from trunkproof.models.timers import EDGE_RETRY_S, TRANSACTION_TIMEOUT_S

logger = logging.getLogger(__name__)

_LAST_WORDS_S = 4.0
"""How long a stopped run waits for the response to a BYE or CANCEL before it drops the call."""
_GOOD_ENDS = {EndCause.LOCAL_BYE, EndCause.REMOTE_BYE, EndCause.BYE_REFUSED}
"""The call was up and has ended. BYE_REFUSED (481) means that the other side had already ended it."""


class _Wish(Enum):
    """What the caller wants of a call that is not yet answered."""

    ANSWER = auto()
    ABANDON = auto()
    """Give up after ringing, as planned."""
    TIME_OUT = auto()
    """Give up because no final response comes."""
    STOP = auto()
    """Give up because the run is stopped."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """What `prepare` makes before the call's instant."""

    audio: Audio
    offer: SessionDescription
    invite: Request


@dataclass(eq=False, slots=True)
class PlannedCall:
    """One attempt of a caller. It is a dialler's `Attempt`."""

    caller: Caller
    row: PlanRow
    record: Record
    inbox: CallEvents = field(default_factory=CallEvents)
    wish: _Wish = _Wish.ANSWER
    _ready: _Ready | NoPortError | None = None
    _lease: Lease | None = None
    _call: ClientCall | None = None
    _log: CallLog = field(init=False)

    def __post_init__(self) -> None:
        self._log = CallLog(logger, "not sent", call=self.row.call, attempt=self.row.attempt)

    async def carry(self) -> None:
        """Carry the whole attempt from now on, for a caller without a dialler."""
        self.prepare()
        self.start()
        await self.finish()

    def prepare(self) -> None:
        """Open ports for the audio, and write the INVITE."""
        line = self.caller.line
        try:
            audio = line.open_audio(self.row)
        except NoPortError as error:
            # Kept until the call's instant, so that the record of the failure says when the call should have been
            # placed.
            self._ready = error
            return
        offer = line.offer(self.row, audio)
        self._ready = _Ready(audio, offer, line.invite(self.row, write_sdp(offer)))

    def start(self) -> None:
        """Send the INVITE, if its connection is already open."""
        # Before the INVITE: a run that is stopped meanwhile has to reach this call.
        self.caller.begin(self.inbox)
        # Only an open connection. To wait for a handshake here would make the next call late.
        lease = self.caller.line.pool.standing(self.row.call)
        if lease is not None and isinstance(self._ready, _Ready):
            self._send(lease, self._ready)

    async def finish(self) -> None:
        """Connect if needed, and follow the call to its end."""
        try:
            if isinstance(self._ready, _Ready):
                await self._connect_and_converse(self._ready)
            elif self._ready is not None:
                self._fail_here(self._ready)
        finally:
            self.drop()
            # Last. `stop` must reach the call as long as it holds anything.
            self.caller.end(self.inbox)

    def drop(self) -> None:
        """Release what was prepared."""
        if isinstance(self._ready, _Ready):
            self._ready.audio.close()

    async def _connect_and_converse(self, ready: _Ready) -> None:
        pool = self.caller.line.pool
        try:
            if self._lease is None:
                self._send(await pool.acquire(self.row.call, resume=self.row.resumes), ready)
        except ConnectError as error:
            return self._end(Disposition.CONNECTION_FAILED, str(error))
        except LocalNetworkError as error:
            return self._fail_here(error)
        assert self._lease is not None
        assert self._call is not None
        try:
            await self._converse(self._call, self._lease, ready)
        finally:
            pool.release(self._lease)
        return None

    def _send(self, lease: Lease, ready: _Ready) -> None:
        self._lease = lease
        self.record.connection, self.record.connect_s = lease.kind, lease.connect_s
        # Read before the INVITE is written: encrypting and sending it belong to the time that we measure.
        self.record.sent_s = self.caller.now_s()
        self._log = CallLog(logger, ready.invite.call_id, call=self.row.call, attempt=self.row.attempt)
        self._log.debug("INVITE sent over a %s connection", lease.kind)
        self._call = self.caller.line.agent.place(lease.connection, ready.invite, self.inbox)

    def _fail_here(self, error: TrunkproofError) -> None:
        """Note a failure of this machine and not of the trunk. The generator's verdict counts these failures."""
        self.caller.local_failures += 1
        self._end(Disposition.CONNECTION_FAILED, f"this machine: {error}")

    async def _converse(self, call: ClientCall, lease: Lease, ready: _Ready) -> None:
        answer = await self._until_answered(call)
        if answer is None:
            return
        audio = ready.audio
        self.record.status, self.record.ports = 200, self.caller.line.ports_per_call
        self.record.answered_s = answer.at_s - self.caller.zero
        self._log.debug("answered")
        fault = self._start_audio(audio, ready.offer, answer.body)
        # The hold time counts from the answer, not from when this task got to run. A call whose SDP is wrong ends at
        # once.
        hang_up_at = answer.at_s + (self.row.hold_s if fault is None else 0.0)
        ended = await self._hold(call, hang_up_at)
        self.record.bye_s = self.caller.now_s()
        # Before the BYE: silence after it is no fault of the trunk.
        audio.stop()
        if not ended:
            ended = await self._hang_up(call, lease)
        # After the hang-up, which may take a while, but of the audio as it was before.
        note_media(self.record, audio.report)
        self._judge(ended, fault or media_fault(audio.report))

    def _start_audio(self, audio: Audio, offer: SessionDescription, body: bytes) -> str | None:
        """Start the audio as agreed. Return what is wrong with the answer, or None."""
        judgement = judge_answer(offer, body)
        if not judgement.accepted or judgement.answer is None:
            return "; ".join(judgement.faults)
        try:
            audio.start(offer, judgement.answer)
        except MediaAddressError as error:
            return str(error)
        return None

    async def _until_answered(self, call: ClientCall) -> events.Answered | None:
        """Follow the INVITE to its end. Return the answer, or None once the record says how the call failed."""
        agent = self.caller.line.agent
        # After the planned setup and ringing, a caller waits for as long as timer B.
        until: float | None = self._clock() + self.row.setup_s + self.row.ring_s + TRANSACTION_TIMEOUT_S
        while True:
            match await self.inbox.next(until):
                # The order of the cases matters: after a stop, None means that CANCEL got no answer either.
                case None if self.wish is _Wish.STOP:
                    self._end(Disposition.STILL_UP, "CANCEL was not answered")
                    return None
                case None | Stopped() as signal:
                    self.wish = _Wish.STOP if signal else self._reason_to_leave()
                    agent.act(call.hang_up)
                    # Without a stop no deadline is needed: the call itself gives up 64*T1 after its CANCEL.
                    until = self._clock() + _LAST_WORDS_S if signal else None
                case events.Ringing(at_s=at_s) if self.record.ringing_s is None:
                    self.record.ringing_s = at_s - self.caller.zero
                    self._log.debug("ringing")
                    # The planned patience counts from the ringing, as a caller hears it.
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
        """Note in the record how the INVITE failed."""
        match final:
            # First: whatever answered our CANCEL, the call was under way when the run was stopped.
            case _ if self.wish is _Wish.STOP:
                self._end(Disposition.STILL_UP)
            case events.Rejected():
                self._refused(final)
            case _ if isinstance(final, events.TimedOut) or self.wish is _Wish.TIME_OUT:
                self.record.status = 408
                self._end(Disposition.TIMED_OUT, f"no final response within {TRANSACTION_TIMEOUT_S:g} s")
            case events.Cancelled() | events.Terminated(cause=EndCause.CANCEL_GLARE):
                # An abandoned call rang, so it was admitted and held its ports.
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
        # The called side refused it, not a limit. It was admitted before, and held its ports.
        if disposition in {Disposition.BUSY, Disposition.NO_ANSWER} or final.status == self.row.status:
            record.ports = line.ports_per_call
        # The redials of the model wait for this header. Its absence explains a difference.
        bare = disposition is Disposition.THROTTLED and line.throttle_retries and final.retry_after_s is None
        self._end(disposition, f"{final.status} without Retry-After" if bare else None)

    async def _hold(self, call: ClientCall, until: float) -> events.Terminated | None:
        """Stay in the call until it is time to hang up. Return the end if the other side hung up first, else None."""
        while True:
            match await self.inbox.next(until):
                case Stopped():
                    self.wish = _Wish.STOP
                    return None
                case None:
                    return None
                case events.Terminated() as ended:
                    return ended

    async def _hang_up(self, call: ClientCall, lease: Lease) -> events.Terminated | None:
        """Send BYE and wait for its response. Return None where none came."""
        # The connection was lost during the call, for example by a restart of the edge. The dialog is still up.
        if call.connection_id is None and not await self._reconnect(call):
            return None
        self.caller.line.agent.act(call.bye)
        until = self._clock() + _LAST_WORDS_S if self.wish is _Wish.STOP else None
        while True:
            match await self.inbox.next(until):
                case Stopped():
                    self.wish = _Wish.STOP
                    until = self._clock() + _LAST_WORDS_S
                case None:
                    return None
                case events.Terminated() as ended:
                    return ended

    async def _reconnect(self, call: ClientCall) -> bool:
        """Move a call whose connection was lost to another one. Return whether that worked."""
        # The BYE waits for an edge that is down for as long as timer F would.
        until = self._clock() + (_LAST_WORDS_S if self.wish is _Wish.STOP else TRANSACTION_TIMEOUT_S)
        while self._clock() < until and not call.ended:
            try:
                lease = await self.caller.line.pool.acquire(self.row.call, resume=self.row.resumes)
            except ConnectError as error:
                self._log.debug("no connection for the BYE: %s", error)
                await asyncio.sleep(EDGE_RETRY_S)
                continue
            self.caller.line.agent.move(call, lease.connection)
            return True
        return False

    def _judge(self, ended: events.Terminated | None, fault: str | None) -> None:
        """Note the disposition of an answered call."""
        if self.wish is _Wish.STOP:
            self._end(Disposition.STILL_UP)
        elif fault is not None:
            self._end(Disposition.MEDIA_FAILED, fault)
        elif ended is None:
            self._end(Disposition.CONNECTION_FAILED, "no way to send the BYE: the trunk is gone")
        else:
            # The call was carried to its end. How the BYE went is a remark, not a failure.
            odd = ended.cause not in _GOOD_ENDS
            self._end(Disposition.COMPLETED, f"ended by {ended.cause.name}" if odd else None)

    def _end(self, disposition: Disposition, reason: str | None = None) -> None:
        self.record.disposition = disposition
        # The first reason is the cause. A later one follows from it.
        self.record.reason = self.record.reason or reason
        self.record.ended_s = self.caller.now_s()
        level = logging.INFO if self.record.reason else logging.DEBUG
        self._log.log(level, "%s, status %s, %s", disposition, self.record.status, self.record.reason or "as planned")
