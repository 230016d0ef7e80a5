"""A call that a limit refuses: what becomes of it, and the words in which its caller is told."""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.loadgen.parties.incoming import Rejection
from trunkproof.loadgen.sip.headers import Header
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.refusals import PHRASES, THROTTLE_CAUSE, refusal_of
from trunkproof.models.throttles.decision import Refused


@dataclass(frozen=True, slots=True)
class Denial:
    """A call that may not pass: what becomes of it, and what its caller is told."""

    disposition: Disposition
    status: int
    cause: int
    retry_after_s: int | None = None

    @classmethod
    def by_throttle(cls, refused: Refused) -> Denial:
        """What a throttle's refusal means."""
        return cls(Disposition.THROTTLED, refused.status, THROTTLE_CAUSE, refused.retry_after_s)

    @classmethod
    def of(cls, disposition: Disposition, direction: Direction = Direction.OUTBOUND) -> Denial:
        """The denial of any other limit, as a caller in that direction is told of it."""
        status, cause = refusal_of(disposition, direction)
        return cls(disposition, status, cause)

    def rejection(self) -> Rejection:
        """As a SIP response: status, Reason (RFC 3326) and, where there is one, Retry-After."""
        headers: list[Header] = [("Reason", f"Q.850;cause={self.cause}")]
        if self.retry_after_s is not None:
            headers.append(("Retry-After", str(self.retry_after_s)))
        return Rejection(self.status, tuple(headers), PHRASES.get(self.cause))


class Denied(Exception):  # noqa: N818  # a way out of a call, not an error of anybody's
    """The call meets a limit."""

    def __init__(self, denial: Denial) -> None:
        self.denial = denial
        super().__init__(denial.disposition)
