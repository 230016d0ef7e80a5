"""Keep a record of every call that comes to an answering side: who called, what was heard, how it ended.

That side is the embedded trunk (`serve`), the carrier (`answer`), or a customer whom others call. It tells the book
what it decides about a call, and the user agent tells it the events of the call. A call is over when both its last
event has come and what it held was released, in whichever order. The rows of these records are those of the plan where
the plan's number was dialled, else -1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from trunkproof.loadgen.parties.agent import IncomingCall
from trunkproof.loadgen.parties.audio import Audio, NoPortError, find_audio_fault, note_media
from trunkproof.loadgen.parties.incoming import Reservation
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.fields import MalformedFieldError, Uri
from trunkproof.loadgen.sip.mask import mask, mask_call_id
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.models.faults import AudioFault
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import Direction, Disposition, EndedBy, FarEnd, Record
from trunkproof.models.refusals import REFUSALS


@dataclass(frozen=True)
class ServedCall:
    """A call that came to an answering side and is over."""

    record: Record
    """Its `reason` says who called whom (masked), which keys were pressed, and who ended the call."""
    heard: bool = False
    """Whether any audio came from the caller."""


OnCall = Callable[[ServedCall], None]
NO_ROW = -1
"""The row of a call to a number that no plan dials."""
MOST_STRANGERS = 100
"""Refused calls of strangers that get a record. What a flood sends beyond them is only counted by the limiter."""

_BY_STATUS = {
    486: Disposition.BUSY,
    600: Disposition.BUSY,
    480: Disposition.NO_ANSWER,
    487: Disposition.ABANDONED,
    REFUSALS[Disposition.NOT_WHITELISTED].status: Disposition.NOT_WHITELISTED,
}
_CALLER = "the caller"
_ENDED_BY = {
    EndCause.REMOTE_BYE: _CALLER,
    EndCause.ACK_TIMEOUT: "{us}, as its answer was never acknowledged",
    EndCause.SESSION_EXPIRED: "{us}, as the session was not refreshed",
    EndCause.BYE_CONNECTION_LOST: "a lost connection",
}


@dataclass(eq=False, slots=True)
class _Entry:
    """A call that is not over."""

    record: Record
    caller: str
    dialled: str
    holds: bool = False
    """Whether it holds something that is not released yet."""
    audio: Audio | None = None
    end: events.FinalEvent | None = None
    refusal: Refusal | None = None


@dataclass(eq=False)
class CallBook:
    """The calls of one side. Instants are seconds after `zero`."""

    zero: float
    tell: OnCall
    trunk: str
    """The name of the trunk for a call that names none."""
    direction: Direction = Direction.OUTBOUND
    us: str = "the trunk"
    """Who this side is, in words."""
    first_call: int = 0
    """The number of the first call. Those below belong to a plan."""
    stopping: bool = False
    """Whether this side ends all calls, because its time is over."""
    strangers: int = 0
    _calls: int = 0
    _entries: dict[ServerCall, _Entry] = field(default_factory=dict)

    def came(self, incoming: IncomingCall, now: float) -> None:
        """Note a new call."""
        record, invite = self._record(now), incoming.call.invite
        record.call_id = mask_call_id(invite.call_id)
        sid = invite.headers.get("X-Exotel-CallSid")
        record.call_sid = None if sid is None else mask_call_id(sid)
        self._entries[incoming.call] = _Entry(record, _caller(invite), incoming.call.dialled)

    def refused_stranger(self, invite: Request, now: float) -> None:
        """Note a call that was refused for its source address, before it was looked at."""
        self.strangers += 1
        if self.strangers > MOST_STRANGERS:
            return
        record = self._record(now)
        record.disposition = Disposition.NOT_WHITELISTED
        record.status, record.cause = REFUSALS[Disposition.NOT_WHITELISTED]
        record.ended_s = record.sent_s
        record.reason = _words(_caller(invite), _user(invite.uri), "", self.us, None)
        self.tell(ServedCall(record))

    def _record(self, now: float) -> Record:
        self._calls += 1
        at_s = now - self.zero
        return Record(
            row=NO_ROW,
            call=self.first_call + self._calls - 1,
            attempt=0,
            trunk=self.trunk,
            direction=self.direction,
            disposition=Disposition.STILL_UP,
            intended_s=at_s,
            sent_s=at_s,
        )

    def asked(self, incoming: IncomingCall, row: PlanRow, trunk: str, *, planned: bool) -> None:
        """Note which trunk a call is for, and which row of the plan."""
        if (entry := self._entries.get(incoming.call)) is not None:
            entry.record.trunk = trunk
            if planned:
                entry.record.row, entry.record.attempt = row.row, row.attempt

    def listed(self, incoming: IncomingCall, row: PlanRow, far_end: FarEnd) -> None:
        """Note which listed number a call is for, and what it does."""
        if (entry := self._entries.get(incoming.call)) is not None:
            entry.record.destination, entry.record.far_end = row.destination, far_end

    def refused(self, incoming: IncomingCall, refused: CallRefused) -> None:
        """Note that a limit refused a call."""
        if (entry := self._entries.get(incoming.call)) is not None:
            entry.refusal = refused.refusal

    def admitted(self, incoming: IncomingCall, ports: int) -> None:
        """Note that a call holds ports and a channel."""
        if (entry := self._entries.get(incoming.call)) is not None:
            entry.holds, entry.record.ports = True, ports

    def has_audio(self, incoming: IncomingCall, audio: Audio) -> None:
        """Note the audio of a call."""
        if (entry := self._entries.get(incoming.call)) is not None:
            entry.audio = audio

    def released(self, incoming: IncomingCall) -> None:
        """Note that a call holds nothing any more. Its audio has stopped."""
        if (entry := self._entries.get(incoming.call)) is not None:
            entry.holds = False
            self._perhaps_over(incoming.call, entry)

    def happened(self, event: events.CallEvent) -> None:
        """Note an event of a call."""
        call = event.call
        entry = self._entries.get(call) if isinstance(call, ServerCall) else None
        if entry is None or not isinstance(call, ServerCall):
            return
        match event:
            case events.Acknowledged() if entry.record.answered_s is None:
                entry.record.status, entry.record.answered_s = 200, event.at_s - self.zero
            case events.FinalEvent():
                entry.end = event
                self._perhaps_over(call, entry)

    def close(self) -> None:
        """End the record of each call that is still up."""
        for call, entry in tuple(self._entries.items()):
            self._over(call, entry, f"the end of {self.us}")

    def _perhaps_over(self, call: ServerCall, entry: _Entry) -> None:
        if entry.end is not None and not entry.holds:
            entry.record.ended_s = entry.end.at_s - self.zero
            self._over(call, entry, self._judge(entry, entry.end))

    def _judge(self, entry: _Entry, end: events.FinalEvent) -> str:
        """Note how a call ended. Return who ended it."""
        record = entry.record
        match end:
            case events.LocallyRejected(status=status):
                record.status = status
                record.disposition = _BY_STATUS.get(status, Disposition.CARRIER_REJECTED)
                if status == 404 and record.row == NO_ROW and record.destination is None:
                    record.disposition = Disposition.NOT_FOUND
                if (refusal := entry.refusal) is not None:
                    record.disposition = refusal.disposition or record.disposition
                    record.cause, record.retry_after_s = refusal.cause, refusal.retry_after_s
                elif self.stopping:
                    record.disposition = Disposition.STILL_UP
                return self.us
            case events.Cancelled():
                record.status, record.disposition = 487, Disposition.ABANDONED
                return _CALLER
            case events.Terminated(cause=cause, reason=reason):
                # The INVITE got its 200 also where the ACK never came.
                record.status, record.bye_s = 200, end.at_s - self.zero
                if reason is not None:
                    record.bye_cause, record.bye_reason = reason.q850_cause, mask(reason.text)
                record.ended_by = EndedBy.PEER if cause is EndCause.REMOTE_BYE else EndedBy.US
                fault, record.reason = _audio_fault(entry) or (None, None)
                record.audio_fault = fault
                record.disposition = Disposition.COMPLETED if fault is None else Disposition.MEDIA_FAILED
                if self.stopping and cause is not EndCause.REMOTE_BYE:
                    record.disposition = Disposition.STILL_UP
                return _ENDED_BY.get(cause, "{us}").format(us=self.us)
            case _:
                record.disposition = Disposition.CONNECTION_FAILED
                record.reason = "connection lost before the final response"
                return "a lost connection"

    def _over(self, call: ServerCall, entry: _Entry, ended_by: str) -> None:
        del self._entries[call]
        report = None if entry.audio is None else entry.audio.report
        if entry.audio is not None:
            note_media(entry.record, entry.audio.report, secure=entry.audio.secure)
        digits, heard = ("", False) if report is None else (report.digits, report.received > 0)
        entry.record.far_digits_received = digits or None
        entry.record.reason = _words(entry.caller, entry.dialled, digits, ended_by, entry.record.reason)
        self.tell(ServedCall(entry.record, heard))


def _audio_fault(entry: _Entry) -> tuple[AudioFault, str] | None:
    """Return what was wrong with the audio of a call, as far as its caller is known."""
    if entry.audio is None:
        return None
    far_end = entry.record.far_end
    if far_end is None:
        return find_audio_fault(entry.audio.report)
    # Whoever calls a listed number has a voice that we do not know. An echo needs some audio, others need none.
    report = replace(entry.audio.report, foreign=0)
    return find_audio_fault(report, FarEnd.PLAYS if far_end is FarEnd.ECHO else FarEnd.ANSWERS)


def _words(caller: str, dialled: str, digits: str, ended_by: str, fault: str | None) -> str:
    pressed = f", pressed {digits}" if digits else ""
    said = f"{_masked(caller)} called {_masked(dialled)}{pressed}, ended by {ended_by}"
    return said if fault is None else f"{fault}; {said}"


def _masked(user: str) -> str:
    """Return the user part of a URI, masked like a number. What is no number is hidden but for two characters."""
    found = mask(f"sip:{user}").removeprefix("sip:")
    return found if found != user or len(user) <= 4 else f"{'*' * (len(user) - 2)}{user[-2:]}"


def _caller(invite: Request) -> str:
    try:
        return _user(invite.from_.uri)
    except MalformedFieldError:
        return ""


def _user(uri: str) -> str:
    try:
        return Uri.parse(uri).user
    except MalformedFieldError:
        return ""


class BookedReservation:
    """A reservation whose audio and end are noted in the book of calls."""

    def __init__(self, reservation: Reservation, incoming: IncomingCall, book: CallBook) -> None:
        self._reservation, self._incoming, self._book = reservation, incoming, book

    def open_audio(self) -> Audio:
        """Return our side of the call's audio."""
        try:
            audio = self._reservation.open_audio()
        except NoPortError:
            self._book.refused(self._incoming, CallRefused(Refusal.of(Disposition.NO_PORT)))
            raise
        self._book.has_audio(self._incoming, audio)
        return audio

    def close(self) -> None:
        """Release what the call holds."""
        self._reservation.close()
        self._book.released(self._incoming)
