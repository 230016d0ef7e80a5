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
from trunkproof.loadgen.parties.audio import NoPortError, find_audio_fault, note_media
from trunkproof.loadgen.parties.call_log import CallLog
from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.parties.redirect import RedirectError
from trunkproof.loadgen.parties.refusal import read_refusal, told
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.client_call import ClientCall
from trunkproof.loadgen.sip.digest import Authenticator
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.fields import is_address
from trunkproof.loadgen.sip.mask import mask, mask_call_id
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.reason import sip_reason
from trunkproof.loadgen.tls.connection import ConnectError
from trunkproof.loadgen.tls.edges import EdgePools
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.loadgen.tls.pool import ConnectionPool, Lease
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Direction, Disposition, EndedBy, FarEnd, Record
from trunkproof.models.refusals import disposition_of
from trunkproof.models.timers import EDGE_RETRY_S, TRANSACTION_TIMEOUT_S

logger = logging.getLogger(__name__)

_LAST_WORDS_S = 4.0
"""How long a stopped run waits for the response to a BYE or CANCEL before it drops the call."""
_GOOD_ENDS = {EndCause.LOCAL_BYE, EndCause.REMOTE_BYE, EndCause.BYE_REFUSED}
"""The call was up and has ended. BYE_REFUSED (481) means that the other side had already ended it."""
EARLY_HANG_UP_S = 1.0
"""A far end that hangs up this long before the planned end, or longer, has dropped the call.

A PBX counts whole seconds, and may begin to count before we do.
"""


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

    media: AudioNegotiator
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
    _edges: EdgePools = field(init=False)
    _edge: int = 0
    _edges_tried: int = 0
    """A bit for each edge."""
    _fails_over: bool = False
    """Whether what happened lets the call try the next edge (RFC 3263 section 4.3)."""
    _pool: ConnectionPool = field(init=False)
    """Where the present lease comes from. Not one of `_edges` where the call was redirected."""
    _tried: list[str] = field(default_factory=list)
    """The Request-URIs that have redirected the call."""
    _log: CallLog = field(init=False)

    def __post_init__(self) -> None:
        self._log = CallLog(logger, "not sent", call=self.row.call, attempt=self.row.attempt)
        self._edges = self.caller.line.edges(self.row)

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
        media = AudioNegotiator(audio, line.offer(self.row, audio))
        self._edge = self._edges.likely(self.row.call)
        self._ready = _Ready(media, line.invite(self.row, media.offered, self._edge))

    def start(self) -> None:
        """Send the INVITE, if its connection is already open."""
        # Before the INVITE: a run that is stopped meanwhile has to reach this call.
        self.caller.begin(self.inbox)
        if not isinstance(self._ready, _Ready):
            return
        self._take_edge()
        # Only an open connection. To wait for a handshake here would make the next call late.
        lease = self._edges.standing(self._edge, self.row.call)
        if lease is not None:
            self._send(lease, self._ready)

    async def finish(self) -> None:
        """Connect if needed, and follow the call to its end."""
        try:
            if isinstance(self._ready, _Ready):
                await self._by_edge(self._ready)
                while self._fails_over and self.wish is _Wish.ANSWER and self._take_edge():
                    self._forget_edge()
                    await self._by_edge(self._ready)
            elif self._ready is not None:
                self._fail_here(self._ready)
        except BaseException:  # cancellation too
            # The dialler tells it in the record. The far end must not stay in a call that nobody follows any more.
            if self._call is not None:
                self.caller.line.agent.act(self._call.hang_up)
            raise
        finally:
            self.drop()
            # Last. `stop` must reach the call as long as it holds anything.
            self.caller.end(self.inbox)

    def drop(self) -> None:
        """Release what was prepared."""
        if isinstance(self._ready, _Ready):
            self._ready.media.close()

    def _take_edge(self) -> bool:
        """Take the call's next edge, and address the INVITE to it. Return False where none is left."""
        edge = self._edges.choose(self.row.call, self._edges_tried)
        if edge is None:
            return False
        self._edges_tried |= 1 << edge
        assert isinstance(self._ready, _Ready)
        if edge != self._edge:
            # A new Call-ID too: an edge that heard the first INVITE would take the same one for a loop (482).
            invite = self.caller.line.invite(self.row, self._ready.invite.body, edge)
            self._ready = _Ready(self._ready.media, invite)
        self._edge = edge
        return True

    def _forget_edge(self) -> None:
        """Forget what the edge before said. Only the instant of the first INVITE stays."""
        record = self.record
        self._log.info("goes on at edge %s: %s", self._edge, record.reason)
        record.disposition, record.ended_s, record.reason = Disposition.STILL_UP, None, None
        record.status = record.cause = record.retry_after_s = None
        record.connection, record.connect_s, record.ports = None, None, 0
        record.connect_failure = record.tls_alert = record.certificate_fault = None
        self._lease = self._call = None
        self._fails_over = False

    async def _by_edge(self, ready: _Ready) -> None:
        """Carry the call by the edge that was taken, to its end or until that edge fails."""
        self._pool = self._edges.pools[self._edge]
        if self.row.direction is Direction.OUTBOUND:
            self.record.edge = self._edge
        try:
            if self._lease is None:
                self._send(await self._edges.acquire(self._edge, self.row.call, resume=self.row.resumes), ready)
        except ConnectError as error:
            record = self.record
            record.connect_failure, record.tls_alert = error.failure.value, error.alert
            record.certificate_fault = error.certificate
            self._fails_over = True
            return self._end(Disposition.CONNECTION_FAILED, str(error))
        except LocalNetworkError as error:
            return self._fail_here(error)
        assert self._lease is not None
        assert self._call is not None
        try:
            await self._converse(ready)
        finally:
            # Another one than before, where the call was redirected.
            self._pool.release(self._lease)
        return None

    def _send(self, lease: Lease, ready: _Ready) -> None:
        self._lease = lease
        self.record.connection, self.record.connect_s = lease.kind, lease.connect_s
        # Read before the INVITE is written: encrypting and sending it belong to the time that we measure.
        self.record.sent_s = self.caller.now_s() if self.record.sent_s is None else self.record.sent_s
        self._log = CallLog(logger, ready.invite.call_id, call=self.row.call, attempt=self.row.attempt)
        self._log.debug("INVITE sent over a %s connection", lease.kind)
        # The far end may send audio before its answer (RFC 3264 section 5.1).
        ready.media.audio.listen()
        self._place(lease, ready)

    def _place(self, lease: Lease, ready: _Ready) -> None:
        self.record.call_id = mask_call_id(ready.invite.call_id)
        if (recorder := self.caller.line.recorder) is not None:
            recorder.begin(self.record.trunk, self.row.row, ready.invite.call_id)
        self._call = self.caller.line.agent.place(lease.connection, ready.invite, self.inbox)
        self._call.negotiator = ready.media
        if (credentials := self.caller.line.credentials) is not None:
            self._call.authenticator = Authenticator(credentials, self.caller.line.agent.ids.tag)

    def _fail_here(self, error: TrunkproofError) -> None:
        """Note a failure of this machine and not of the trunk. The generator's verdict counts these failures."""
        self.caller.local_failures += 1
        self._end(Disposition.CONNECTION_FAILED, f"this machine: {error}")

    async def _converse(self, ready: _Ready) -> None:
        answer = await self._until_answered()
        if answer is None:
            return
        assert self._call is not None
        call, media = self._call, ready.media
        self.record.status, self.record.ports = 200, self.caller.line.ports_per_call
        self._note_call_sid(answer.response)
        self.record.answered_s = answer.at_s - self.caller.zero
        self._log.debug("answered")
        # The hold time counts from the answer, not from when this task got to run. A call whose SDP is wrong ends at
        # once.
        hang_up_at = answer.at_s + (self.row.hold_s if answer.fault is None else 0.0)
        ended = await self._hold(call, hang_up_at)
        self.record.bye_s = self.caller.now_s()
        # Before the BYE: silence after it is no fault of the trunk.
        media.stop()
        early = ended is not None and ended.at_s <= hang_up_at - EARLY_HANG_UP_S
        if not ended:
            ended = await self._hang_up(call, answer.fault)
        # Not before: while we look for a connection for our BYE, the far end may hang up over one of its own.
        self._note_end(ended)
        # After the hang-up, which may take a while, but of the audio as it was before.
        note_media(self.record, media.audio.report, secure=media.audio.secure)
        self.record.digits_sent = media.audio.digits_sent or None
        self.record.digits_received = media.audio.report.digits or None
        audio_fault, words = find_audio_fault(media.audio.report, self._far_end) or (None, None)
        # Without an agreement there was nothing to hear.
        self.record.audio_fault = audio_fault if answer.fault is None else None
        unsent = len(media.audio.digits) - media.audio.report.keys_sent
        self._judge(ended, answer.fault or words, early=early, unsent=unsent)

    def _note_call_sid(self, response: Response) -> None:
        sid = response.headers.get("X-Exotel-CallSid")
        self.record.call_sid = None if sid is None else mask_call_id(sid)

    def _note_end(self, ended: events.Terminated | None) -> None:
        """Note who hung up, and why. `ended` is None where our BYE got no answer."""
        record = self.record
        record.ended_by = EndedBy.US
        if ended is not None and ended.cause is EndCause.REMOTE_BYE:
            record.ended_by = EndedBy.PEER
            if ended.reason is not None:
                record.bye_cause, record.bye_reason = ended.reason.q850_cause, mask(ended.reason.text)

    async def _until_answered(self) -> events.Answered | None:
        """Follow the INVITE to its end. Return the answer, or None once the record says how the call failed."""
        agent = self.caller.line.agent
        # Timer B, which ends with the first provisional response (RFC 3261 section 17.1.1.2), runs in the transaction.
        # This is the caller's own patience.
        until: float | None = self._clock() + self._patience_s
        while True:
            match await self.inbox.next(until):
                # The order of the cases matters: after a stop, None means that CANCEL got no answer either.
                case None if self.wish is _Wish.STOP:
                    self._end(Disposition.STILL_UP, "CANCEL was not answered")
                    return None
                case None | Stopped() as signal:
                    self.wish = _Wish.STOP if signal else self._reason_to_leave()
                    assert self._call is not None
                    agent.act(self._call.hang_up)
                    # Without a stop no deadline is needed: the call itself gives up 64*T1 after its CANCEL.
                    until = self._clock() + _LAST_WORDS_S if signal else None
                case events.Ringing(at_s=at_s) if self.record.ringing_s is None:
                    self.record.ringing_s = at_s - self.caller.zero
                    self._log.debug("ringing")
                    # Patience counts from the ringing, as a caller hears it.
                    if self.wish is _Wish.ANSWER:
                        planned = self.row.outcome is Outcome.ABANDONED
                        until = at_s + (self.row.ring_s if planned else self._patience_s)
                case events.Answered() as answer:
                    return answer
                case events.Rejected(status=status) as final if status < 400 and await self._redirected(final):
                    until = self._clock() + self._patience_s
                case events.FinalEvent() as final:
                    self._failed(final)
                    return None

    @property
    def _patience_s(self) -> float:
        """Return how long the caller waits: as long as the study says, and at least until the planned answer."""
        return max(self.caller.line.ring_patience_s, self.row.setup_s + self.row.ring_s + TRANSACTION_TIMEOUT_S)

    async def _redirected(self, final: events.Rejected) -> bool:
        """Send the INVITE where a 3xx sends it, if the study and the guard allow it. Return whether that was done."""
        redirector = self.caller.line.redirector
        assert isinstance(self._ready, _Ready)
        if redirector is None or self.wish is not _Wish.ANSWER:
            return False
        self._tried.append(self._ready.invite.uri)
        try:
            there = await redirector.follow(final.response, self._tried)
            lease = await there.pool.acquire(self.row.call, resume=self.row.resumes)
        except (RedirectError, ConnectError, LocalNetworkError) as error:
            self.caller.local_failures += isinstance(error, LocalNetworkError)
            self.record.reason = mask(f"not followed: {error}")
            return False
        # A new Call-ID, which RFC 3261 section 8.1.3.4 allows: the first call is over for its endpoint.
        invite = self.caller.line.invite(self.row, self._ready.invite.body)
        invite.uri = there.uri
        self._ready = _Ready(self._ready.media, invite)
        assert self._lease is not None
        self._pool.release(self._lease)
        self._pool, self._lease = there.pool, lease
        self._edges = EdgePools([there.pool])
        self._edge, self._edges_tried = 0, 1
        self._log.debug("redirected, attempt %d", len(self._tried))
        self._place(lease, self._ready)
        return True

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
            case events.TimedOut():
                self._edges.failed(self._edge)
                self._fails_over = self.record.ringing_s is None
                self.record.status = 408
                self._end(Disposition.TIMED_OUT, f"no response within {TRANSACTION_TIMEOUT_S:g} s (timer B)")
            case _ if self.wish is _Wish.TIME_OUT:
                self.record.status = 408
                since = "the INVITE" if self.record.ringing_s is None else "the first ring"
                self._end(Disposition.TIMED_OUT, f"no answer within {self._patience_s:g} s of {since}: given up")
            case events.Cancelled() | events.Terminated(cause=EndCause.CANCEL_GLARE):
                # An abandoned call rang, so it was admitted and held its ports.
                self.record.status, self.record.ports = 487, self.caller.line.ports_per_call
                self._end(Disposition.ABANDONED)
            case events.ConnectionLost():
                # A TLS 1.3 server refuses our certificate after the handshake, by an alert (RFC 8446 section 4.4.2.4).
                closed = self._lease.connection.closed if self._lease is not None else None
                self.record.tls_alert = None if closed is None else closed.alert
                self._fails_over = self.record.ringing_s is None
                self._end(Disposition.CONNECTION_FAILED, "connection lost before the final response")
            case events.ProtocolViolation(what=what):
                self._end(Disposition.CONNECTION_FAILED, f"the answer cannot be used: {mask(what)}")
            case _:
                self._end(Disposition.CONNECTION_FAILED, f"ended by {type(final).__name__} before the answer")

    def _refused(self, final: events.Rejected) -> None:
        line, record = self.caller.line, self.record
        self._fails_over = self._edges.on_503 and final.status == 503 and record.ringing_s is None
        record.status, record.cause, record.retry_after_s = final.status, final.q850_cause, final.retry_after_s
        self._note_call_sid(final.response)
        response = read_refusal(final)
        disposition = disposition_of(response, self.row, line.refusals)
        # The called side refused it, not a limit. It was admitted before, and held its ports.
        if disposition in {Disposition.BUSY, Disposition.NO_ANSWER} or final.status == self.row.status:
            record.ports = line.ports_per_call
        # The redials of the model wait for this header. Its absence explains a difference.
        bare = disposition is Disposition.THROTTLED and line.refusals.retries and final.retry_after_s is None
        words = [] if line.refusals.explains(disposition, self.row) else [told(response)]
        words += [record.reason] if record.reason else []
        words += [f"{final.status} without Retry-After"] if bare else []
        record.reason = None
        self._end(disposition, "; ".join(words) or None)

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
                case events.Reoffered(status=status) if status != 200:
                    self._log.info("an offer in mid-call was refused with %s", status)
                case events.OfferAnswered(fault=fault) if fault is not None:
                    self._log.info("an answer in mid-call cannot be used: %s", fault)

    async def _hang_up(self, call: ClientCall, fault: str | None) -> events.Terminated | None:
        """Send BYE and wait for its response. Return None where none came."""
        # The connection was lost during the call, for example by a restart of the edge. The dialog is still up.
        if call.connection_id is None and not await self._reconnect(call):
            return None
        reason = None if fault is None else sip_reason(488, fault)
        self.caller.line.agent.act(lambda now: call.bye(now, reason))
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
        # An address in the Route is that of one edge; a name stands for all of them.
        uses_any = call.dialog is not None and not is_address(call.dialog.next_host)
        tried = 0
        while self._clock() < until and not call.ended:
            edge = self._edges.choose(self.row.call, tried) if uses_any else self._edge
            if edge is not None:
                tried |= 1 << edge
                try:
                    lease = await self._edges.acquire(edge, self.row.call, resume=self.row.resumes)
                except ConnectError as error:
                    self._log.debug("no connection for the BYE at edge %s: %s", edge, error)
                else:
                    assert self._lease is not None
                    self._pool.release(self._lease)
                    self._pool, self._lease = self._edges.pools[edge], lease
                    self.caller.line.agent.move(call, lease.connection)
                    return True
            if edge is None or not uses_any:
                await asyncio.sleep(EDGE_RETRY_S)
                tried = 0
        return False

    def _judge(self, ended: events.Terminated | None, fault: str | None, *, early: bool, unsent: int) -> None:
        """Note the disposition of an answered call. `unsent` keys were not sent."""
        if self.wish is _Wish.STOP:
            self._end(Disposition.STILL_UP)
        elif fault is not None:
            self._end(Disposition.MEDIA_FAILED, fault)
        elif ended is None:
            self._end(Disposition.CONNECTION_FAILED, "no way to send the BYE: the trunk is gone")
        # An announcement may be over before its caller wants to hang up.
        elif early and self._far_end is not FarEnd.PLAYS:
            self._end(Disposition.DROPPED, self._drop_reason(ended))
        else:
            # The call was carried to its end. How the BYE went is a remark, not a failure.
            odd = [] if ended.cause in _GOOD_ENDS else [f"ended by {ended.cause.name}"]
            if self._far_end in {FarEnd.REJECTS, FarEnd.RINGS}:
                odd.append("it was not expected to answer")
            if unsent:
                odd.append(f"{unsent} keys were not sent: did the far end agree to telephone-event?")
            self._end(Disposition.COMPLETED, "; ".join(odd) or None)

    @property
    def _far_end(self) -> FarEnd:
        return self.caller.line.far_end(self.row)

    def _drop_reason(self, ended: events.Terminated) -> str:
        after_s = ended.at_s - self.caller.zero - (self.record.answered_s or 0.0)
        who = "the far end hung up" if ended.cause is EndCause.REMOTE_BYE else f"ended by {ended.cause.name}"
        why = f": {self.record.bye_reason}" if self.record.bye_reason else ""
        return f"{who} after {after_s:.1f} of {self.row.hold_s:.1f} s{why}"

    def _end(self, disposition: Disposition, reason: str | None = None) -> None:
        self.record.disposition = disposition
        # The first reason is the cause. A later one follows from it.
        self.record.reason = self.record.reason or reason
        self.record.ended_s = self.caller.now_s()
        level = logging.INFO if self.record.reason else logging.DEBUG
        self._log.log(level, "%s, status %s, %s", disposition, self.record.status, self.record.reason or "as planned")
