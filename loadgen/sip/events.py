"""The events that a SIP endpoint reports: one dataclass for each thing that can happen to a call or a probe.

Every call ends with exactly one FinalEvent, whatever the peer does. An event names its call, so that an adapter can
dispatch it without a look-up. Events hold facts and no behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.sip.reason import EndReason


class EndCause(Enum):
    """Why an answered call ended."""

    LOCAL_BYE = auto()
    """We sent BYE, and it was answered 2xx."""
    REMOTE_BYE = auto()
    """The peer sent BYE."""
    BYE_REFUSED = auto()
    """Our BYE was answered with a failure such as 481."""
    BYE_TIMEOUT = auto()
    """Our BYE was not answered within 64*T1."""
    BYE_CONNECTION_LOST = auto()
    """Our BYE had no connection, or lost it before its answer."""
    ACK_TIMEOUT = auto()
    """The caller never acknowledged our answer, so we sent BYE (RFC 3261 section 13.3.1.4)."""
    CANCEL_GLARE = auto()
    """The answer crossed our CANCEL, so we sent ACK and BYE."""
    SESSION_EXPIRED = auto()
    """No refresh came in time, or ours was refused, so we sent BYE (RFC 4028 section 10)."""


class EventCall(Protocol):
    """A call as its events know it; `Call` is one."""

    context: object
    """The user's own, to dispatch events by."""


# Two probes with the same context are still two probes, so they compare by identity.
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
    """A 100 was received."""


@dataclass(frozen=True, slots=True)
class Ringing(CallEvent):
    """A provisional response other than 100 was received. `body` is its SDP, or empty. The negotiator has it."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered(CallEvent):
    """A 2xx was received and acknowledged.

    `body` is the peer's description that stands: of the 2xx, or of a 1xx before it in the same dialog.
    """

    response: Response
    body: bytes
    fault: str | None = None
    """What the negotiator finds wrong with it."""


@dataclass(frozen=True, slots=True)
class Acknowledged(CallEvent):
    """The ACK of our answer arrived."""


@dataclass(frozen=True, slots=True)
class Reoffered(CallEvent):
    """The peer sent a re-INVITE or UPDATE, and we answered it with `status`.

    `offer` is what it offers, or empty: it asks for our offer (INVITE), or only refreshes (UPDATE). Where the status is
    not 200, nothing has changed.
    """

    offer: bytes
    status: int


@dataclass(frozen=True, slots=True)
class OfferAnswered(CallEvent):
    """An offer of ours inside the dialog was answered, or should have been, in a 2xx, an ACK or a PRACK."""

    answer: bytes
    fault: str | None
    """What the negotiator finds wrong with the answer. What was agreed before goes on then."""


@dataclass(frozen=True, slots=True)
class OfferRefused(CallEvent):
    """The peer refused what `call.reoffer` offered. What was agreed before goes on."""

    status: int


@dataclass(frozen=True, slots=True)
class Refreshed(CallEvent):
    """Our session refresh was answered (RFC 4028)."""


@dataclass(frozen=True, slots=True)
class AckTimeout(CallEvent):
    """64*T1 went by without the ACK of our answer. We sent a BYE."""


@dataclass(frozen=True, slots=True)
class Detached(CallEvent):
    """The call's connection is gone. The dialog lives on, and `call.use_connection` gives it another connection."""


@dataclass(frozen=True, slots=True)
class Rejected(FinalEvent):
    """Our INVITE got a final response of 300 or more."""

    status: int
    reason: str
    retry_after_s: float | None
    """Retry-After in seconds (RFC 3261 section 20.33). None where it is absent or unreadable."""
    q850_cause: int | None
    """Q.850 cause of the Reason header (RFC 3326). None where it is absent."""
    response: Response


@dataclass(frozen=True, slots=True)
class TimedOut(FinalEvent):
    """No response came within 64*T1 (timer B). RFC 3261 section 8.1.3.1 lets the caller treat it as a 408."""


@dataclass(frozen=True, slots=True)
class Cancelled(FinalEvent):
    """The call was cancelled before its answer. `confirmed` is False where no final response came (section 9.1)."""

    confirmed: bool


@dataclass(frozen=True, slots=True)
class ConnectionLost(FinalEvent):
    """The connection was lost before the call was answered."""


@dataclass(frozen=True, slots=True)
class ProtocolViolation(FinalEvent):
    """The peer's answer cannot be used, for example a 2xx with a broken Record-Route. `what` says why."""

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
    """The final status of our BYE, where we sent one and it was answered."""
    reason: EndReason | None = None
    """Why the peer hung up, where its BYE says so."""


@dataclass(frozen=True, slots=True)
class ProbeAnswered(Event):
    """An OPTIONS got its final response.

    `status` is 408 where none came, and 503 where the connection was lost (RFC 3261 section 8.1.3.1).
    """

    probe: Probe
    status: int
    response: Response | None
