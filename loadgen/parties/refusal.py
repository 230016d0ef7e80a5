"""A call that is refused: what becomes of it, and the words in which its caller is told."""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.loadgen.sip.headers import Header
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.refusals import PHRASES, THROTTLE_CAUSE, refusal_of
from trunkproof.models.throttles.decision import Refused


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call is not let in or not answered, as its caller is told."""

    status: int
    cause: int | None = None
    """Q.850; `None` where the called side refuses, which says nothing but its status."""
    retry_after_s: int | None = None
    disposition: Disposition | None = None
    """What becomes of the call where a limit refuses it."""

    @classmethod
    def by_throttle(cls, refused: Refused) -> Refusal:
        """Return what a throttle's refusal means."""
        return cls(refused.status, THROTTLE_CAUSE, refused.retry_after_s, Disposition.THROTTLED)

    @classmethod
    def of(cls, disposition: Disposition, direction: Direction = Direction.OUTBOUND) -> Refusal:
        """Return the refusal of any other limit, as a caller in that direction is told of it."""
        status, cause = refusal_of(disposition, direction)
        return cls(status, cause, disposition=disposition)

    @property
    def headers(self) -> tuple[Header, ...]:
        """Reason (RFC 3326) and Retry-After, where there are such."""
        reason: tuple[Header, ...] = () if self.cause is None else (("Reason", f"Q.850;cause={self.cause}"),)
        retry: tuple[Header, ...] = () if self.retry_after_s is None else (("Retry-After", str(self.retry_after_s)),)
        return reason + retry

    @property
    def phrase(self) -> str | None:
        """The reason phrase, where it is not the status's own."""
        return None if self.cause is None else PHRASES.get(self.cause)


class CallRefused(Exception):  # noqa: N818  # a way out of a call, not an error of anybody's
    """The call is refused."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.disposition or refusal.status)
