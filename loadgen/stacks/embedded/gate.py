"""The embedded trunk's admission: whitelist, throttle, ports, carrier, in the order in which a call meets them.

It asks the same pure objects that the simulator asks, and books what each call holds. It speaks no SIP and opens no
socket; time is a parameter, on the trunk's own clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from models.ports import PortPool
from models.records import Direction, Disposition
from models.refusals import REFUSALS, THROTTLE_CAUSE
from models.study import Study
from models.throttle import Refused, SlidingWindowAdmitted, Throttle, make_throttle


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
    """The limits of one PoP at work."""

    def __init__(self, study: Study, *, anchor: float) -> None:
        """All limits unused; `anchor` is the instant at which fixed windows begin, the trunk's own start."""
        pop = study.pop
        self._trunks = study.trunks
        self._throttles = [make_throttle(trunk.throttle, anchor=anchor) for trunk in study.trunks]
        self.ports = PortPool(pop.ports.low, pop.ports.high, pop.ports.legs, pop.ports.quarantine_s)
        self._carrier_rate = _carrier_rate(pop.carrier.calls_per_second)
        self.channels_limit = pop.carrier.channels
        """Channels that the carrier keeps; `None`: as many as are asked for. A brown-out changes it."""
        self.channels_used = 0

    def whitelisted(self, trunk: int, source: str) -> Denial | None:
        """Deny a source address that the trunk's whitelist does not name."""
        admitted = self._trunks[trunk].admits(IPv4Address(source))
        return None if admitted else _denial(Disposition.NOT_WHITELISTED)

    def throttle(self, trunk: int, direction: Direction, now: float) -> float | Denial:
        """Ask the throttle: the delay in seconds after which the call may go on, or a denial."""
        if direction is Direction.INBOUND and self._trunks[trunk].throttle.counts == "outbound":
            return 0.0
        decision = self._throttles[trunk].try_admit(now)
        if isinstance(decision, Refused):
            return Denial(Disposition.THROTTLED, decision.status, THROTTLE_CAUSE, decision.retry_after_s)
        return decision.delay_s

    def reserve(self, now: float) -> tuple[int, ...] | Denial:
        """Take port pairs and a channel: the RTP ports, or a denial that took nothing."""
        ports = self.ports.acquire(now)
        if ports is None:
            return _denial(Disposition.NO_PORT)
        refusal = self._carrier_refusal(now)
        if refusal is not None:
            self.ports.release(ports, now)
            return _denial(refusal)
        self.channels_used += 1
        return ports

    def _carrier_refusal(self, now: float) -> Disposition | None:
        if self._carrier_rate is not None and isinstance(self._carrier_rate.try_admit(now), Refused):
            return Disposition.CARRIER_REJECTED
        if self.channels_limit is not None and self.channels_used >= self.channels_limit:
            return Disposition.NO_CHANNEL
        return None

    def release(self, ports: tuple[int, ...], now: float) -> None:
        """Give back what `reserve` took."""
        self.ports.release(ports, now)
        self.channels_used -= 1


def _carrier_rate(calls_per_second: int | None) -> Throttle | None:
    if calls_per_second is None:
        return None
    return make_throttle(SlidingWindowAdmitted(policy="sliding_window_admitted", limit=calls_per_second, window_s=1.0))
