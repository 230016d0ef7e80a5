"""The refusal of a call: what its caller is told, and how a caller reads what it was told."""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.mask import mask
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.refusals import PHRASES, THROTTLE_CAUSE, FinalResponse, refusal_of
from trunkproof.models.throttles.decision import Refused

_TELLING = ("Reason", "Warning")
"""Headers that say more of a refusal than its status: RFC 3326, RFC 3261 section 20.43."""
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the caller of a refused call is told."""

    status: int
    cause: int | None = None
    """The Q.850 cause. None where the called side refuses: it sends a status only."""
    retry_after_s: int | None = None
    disposition: Disposition | None = None
    """The disposition of a call that a limit refuses."""

    @classmethod
    def by_throttle(cls, refused: Refused) -> Refusal:
        """Return the refusal for a decision of the throttle."""
        return cls(refused.status, THROTTLE_CAUSE, refused.retry_after_s, Disposition.THROTTLED)

    @classmethod
    def of(cls, disposition: Disposition, direction: Direction = Direction.OUTBOUND) -> Refusal:
        """Return the refusal by any other limit, for a caller in that direction."""
        status, cause = refusal_of(disposition, direction)
        return cls(status, cause, disposition=disposition)

    @property
    def headers(self) -> tuple[Header, ...]:
        """Return the headers Reason (RFC 3326) and Retry-After, as far as they apply."""
        reason: tuple[Header, ...] = () if self.cause is None else (("Reason", f"Q.850;cause={self.cause}"),)
        retry: tuple[Header, ...] = () if self.retry_after_s is None else (("Retry-After", str(self.retry_after_s)),)
        return reason + retry

    @property
    def phrase(self) -> str | None:
        """Return the reason phrase. None for the standard phrase of the status."""
        # The cause tells one 503 from another, but Asterisk's dialplan sees only the phrase.
        return None if self.cause is None else PHRASES.get(self.cause)


class CallRefused(Exception):  # noqa: N818  # it ends a call as planned and is no error
    """Ends a call with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.disposition or refusal.status)


def read_refusal(rejected: events.Rejected) -> FinalResponse:
    """Return what a final response of 300 or above says of its reason. The words are the peer's, and not masked."""
    headers = rejected.response.headers
    # Only in a redirect the Contact says more: elsewhere it is the callee's own address (RFC 3261 section 20.10).
    telling = (*_TELLING, "Contact") if rejected.status < 400 else _TELLING
    said = [f"{name}: {value}" for name in telling for value in headers.rows(name)]
    words = "; ".join([rejected.reason, *said])
    return FinalResponse(rejected.status, rejected.q850_cause, words, rejected.retry_after_s)


def told(response: FinalResponse) -> str:
    """Return a refusal as one line for a record: status, phrase and headers, masked."""
    # Masked before it is cut: half a number might not look like one.
    line = mask(f"{response.status} {response.words}")
    return "".join(char if char.isprintable() else "?" for char in line[:_LONGEST])
