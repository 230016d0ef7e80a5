"""The embedded trunk's gate: what becomes of a call that meets a limit, and what its caller is told.

The limits themselves are `models.limits`, which the simulator asks too. It speaks no SIP and opens no socket; time is a
parameter, on the trunk's own clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from models.limits import Limits, Ports
from models.records import Direction, Disposition
from models.refusals import REFUSALS, THROTTLE_CAUSE
from models.study import Study
from models.throttle import Refused


@dataclass(frozen=True, slots=True)
class Denial:
    """A call that may not pass: what becomes of it, and what its caller is told."""

    disposition: Disposition
    status: int
    cause: int
    retry_after_s: int | None = None


def _denial(disposition: Disposition) -> Denial:
    status, cause = REFUSALS[disposition]
    return Denial(disposition, status, cause)


class Gate:
    """The way into one PoP."""

    def __init__(self, study: Study, *, anchor: float) -> None:
        """`anchor` is the instant at which fixed windows begin, the trunk's own start."""
        self._trunks = study.trunks
        self.limits = Limits(study, {trunk.name: anchor for trunk in study.trunks})

    def whitelisted(self, trunk: int, source: str) -> Denial | None:
        """Deny a source address that the trunk's whitelist does not name."""
        admitted = self._trunks[trunk].admits(IPv4Address(source))
        return None if admitted else _denial(Disposition.NOT_WHITELISTED)

    def throttle(self, trunk: int, direction: Direction, now: float) -> float | Denial:
        """Ask the throttle: the delay in seconds after which the call may go on, or a denial."""
        decision = self.limits.ask_throttle(trunk, direction, now)
        if isinstance(decision, Refused):
            return Denial(Disposition.THROTTLED, decision.status, THROTTLE_CAUSE, decision.retry_after_s)
        return decision.delay_s

    def reserve(self, now: float) -> Ports | Denial:
        """Take port pairs and a channel: the RTP ports, or a denial that took nothing."""
        taken = self.limits.take(now)
        return _denial(taken) if isinstance(taken, Disposition) else taken
