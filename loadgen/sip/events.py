"""What a SIP endpoint tells its user: one dataclass for each thing that can happen to a call or a probe.

Every call ends with exactly one FinalEvent, whatever the peer does; events carry the call they belong to, so that an
adapter dispatches them without a look-up. They hold facts, no behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from trunkproof.loadgen.sip.message import Response


class EndCause(Enum):
    """Why an answered call ended."""

    LOCAL_BYE = auto()
    """We sent BYE and it was answered 2xx."""
    REMOTE_BYE = auto()
    BYE_REFUSED = auto()
    """Our BYE was answered with a failure such as 481."""
    BYE_TIMEOUT = auto()
    """Our BYE was not answered in 64*T1."""
    BYE_CONNECTION_LOST = auto()
    """Our BYE had no connection to go over, or lost it before its answer."""
    ACK_TIMEOUT = auto()
    """The caller never acknowledged our answer; BYE was sent (RFC 3261 section 13.3.1.4)."""
    CANCEL_GLARE = auto()
    """The answer crossed our CANCEL; ACK and BYE were sent."""
    SESSION_EXPIRED = auto()
    """No refresh came in time, or ours was refused (RFC 4028 section 10); BYE was sent."""


class EventCall(Protocol):
    """A call as its events know it; `Call` is one."""

    context: object
    """The user's own, to dispatch events by."""


@dataclass(eq=False, slots=True)
class Probe:
    """An OPTIONS of ours in flight; `context` is the user's."""

    context: object = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at `at_s`, the `now` of the input that caused it."""

    at_s: float


@dataclass(frozen=True, slots=True)
class CallEvent(Event):
    """Something happened to `call`."""

    call: EventCall


@dataclass(frozen=True, slots=True)
class FinalEvent(CallEvent):
    """The last event of its call."""


@dataclass(frozen=True, slots=True)
class Trying(CallEvent):
    """100 received."""


@dataclass(frozen=True, slots=True)
class Ringing(CallEvent):
    """A provisional other than 100; `body` is early SDP or empty."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered(CallEvent):
    """2xx received and acknowledged; `body` is the answer as it came, possibly empty."""

    response: Response
    body: bytes


@dataclass(frozen=True, slots=True)
class Acknowledged(CallEvent):
    """The ACK of our answer arrived."""


@dataclass(frozen=True, slots=True)
class Reinvited(CallEvent):
    """A re-INVITE or UPDATE was answered with our unchanged SDP; `body` is what it offered, or empty."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Refreshed(CallEvent):
    """Our session refresh was answered (RFC 4028)."""


@dataclass(frozen=True, slots=True)
class AckTimeout(CallEvent):
    """64*T1 went by without the ACK of our answer; a BYE is on its way."""


@dataclass(frozen=True, slots=True)
class Detached(CallEvent):
    """The call's connection is gone; the dialog lives, and `call.use_connection` gives it another."""


@dataclass(frozen=True, slots=True)
class Rejected(FinalEvent):
    """A final response of 300 or more to our INVITE."""

    status: int
    reason: str
    retry_after_s: float | None
    """Retry-After (RFC 3261 section 20.33), None where absent or unreadable."""
    q850_cause: int | None
    """Cause of the Reason header (RFC 3326), None where absent."""
    response: Response


@dataclass(frozen=True, slots=True)
class TimedOut(FinalEvent):
    """No response at all within 64*T1 (timer B): a 408 as far as the caller is concerned (section 8.1.3.1)."""


@dataclass(frozen=True, slots=True)
class Cancelled(FinalEvent):
    """Cancelled before the answer; `confirmed` is False where no final response ever came (RFC 3261 section 9.1)."""

    confirmed: bool


@dataclass(frozen=True, slots=True)
class ConnectionLost(FinalEvent):
    """The connection went before the call was answered."""


@dataclass(frozen=True, slots=True)
class ProtocolViolation(FinalEvent):
    """The peer's answer cannot be used, for example a 2xx without a tag; `what` says why."""

    what: str


@dataclass(frozen=True, slots=True)
class LocallyRejected(FinalEvent):
    """We rejected the incoming call with `status`."""

    status: int


@dataclass(frozen=True, slots=True)
class Terminated(FinalEvent):
    """An answered call is over."""

    cause: EndCause
    status: int | None
    """Final status of our BYE, where we sent one and it was answered."""


@dataclass(frozen=True, slots=True)
class ProbeAnswered(Event):
    """The final response of an OPTIONS; 408 where none came, 503 where the connection went (section 8.1.3.1)."""

    probe: Probe
    status: int
    response: Response | None
