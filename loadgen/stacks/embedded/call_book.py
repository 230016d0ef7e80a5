"""Keep a record of every call that comes to the embedded trunk, for `serve`: who called, what was heard, how it ended.

The trunk tells the book what it decides about a call, and the user agent tells it the events of the call. A call is
over when both its last event has come and what it held was released, in whichever order. The rows of these records are
those of the plan where the plan's number was dialled, else -1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trunkproof.loadgen.parties.agent import IncomingCall
from trunkproof.loadgen.parties.audio import Audio, media_fault, note_media
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.fields import MalformedFieldError, Uri
from trunkproof.loadgen.sip.mask import mask
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.loadgen.stacks.stack import OnCall, ServedCall
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import Direction, Disposition, Record
from trunkproof.models.refusals import REFUSALS

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
_ENDED_BY = {
    EndCause.REMOTE_BYE: "the caller",
    EndCause.ACK_TIMEOUT: "the trunk, as its answer was never acknowledged",
    EndCause.SESSION_EXPIRED: "the trunk, as the session was not refreshed",
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
    """The calls of one trunk. Instants are seconds after `zero`, the start of the trunk."""

    zero: float
    tell: OnCall
    trunk: str
    """The name of the trunk for a call that names none."""
    strangers: int = 0
    _calls: int = 0
    _entries: dict[ServerCall, _Entry] = field(default_factory=dict)

    def came(self, incoming: IncomingCall, now: float) -> None:
        """Note a new call."""
        self._entries[incoming.call] = _Entry(self._record(now), _caller(incoming.call.invite), incoming.call.dialled)

    def refused_stranger(self, invite: Request, now: float) -> None:
        """Note a call that was refused for its source address, before it was looked at."""
        self.strangers += 1
        if self.strangers > MOST_STRANGERS:
            return
        record = self._record(now)
        record.disposition = Disposition.NOT_WHITELISTED
        record.status, record.cause = REFUSALS[Disposition.NOT_WHITELISTED]
        record.ended_s = record.sent_s
        record.reason = _words(_caller(invite), _user(invite.uri), "", "the trunk", None)
        self.tell(ServedCall(record))

    def _record(self, now: float) -> Record:
        self._calls += 1
        at_s = now - self.zero
        return Record(
            row=NO_ROW,
            call=self._calls - 1,
            attempt=0,
            trunk=self.trunk,
            direction=Direction.OUTBOUND,
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
            self._over(call, entry, "the end of the trunk")

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
                if (refusal := entry.refusal) is not None:
                    record.disposition = refusal.disposition or record.disposition
                    record.cause, record.retry_after_s = refusal.cause, refusal.retry_after_s
                return "the trunk"
            case events.Cancelled():
                record.status, record.disposition = 487, Disposition.ABANDONED
                return "the caller"
            case events.Terminated(cause=cause, reason=reason):
                # The INVITE got its 200 also where the ACK never came.
                record.status, record.bye_s = 200, end.at_s - self.zero
                if reason is not None:
                    record.bye_cause, record.bye_reason = reason.q850_cause, mask(reason.text)
                fault = media_fault(entry.audio.report) if entry.audio is not None else None
                record.disposition = Disposition.COMPLETED if fault is None else Disposition.MEDIA_FAILED
                record.reason = fault
                return _ENDED_BY.get(cause, "the trunk")
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
        entry.record.reason = _words(entry.caller, entry.dialled, digits, ended_by, entry.record.reason)
        self.tell(ServedCall(entry.record, heard))


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
