"""The limits that a call meets at a PoP, in their order: throttle, port pool, carrier rate, carrier channels.

The simulator and the embedded trunk ask this same object, one in simulated time and one on the clock. It takes and
gives back; who is told what, and who waits, is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.ports import PortPool
from models.records import Direction, Disposition
from models.study import Study
from models.throttle import ADMITTED, Decision, Refused, SlidingWindowAdmitted, Throttle, make_throttle

Ports = tuple[int, ...]


class Limits:
    """The limits of one PoP, unused at first. Times are seconds of any one clock that does not run backwards."""

    def __init__(self, study: Study, anchors: Mapping[str, float]) -> None:
        """`anchors`: trunk name -> an instant at which a window of its throttle begins, where that matters."""
        ports, carrier = study.pop.ports, study.pop.carrier
        self._counts_inbound = [trunk.throttle.counts == "both" for trunk in study.trunks]
        self._throttles = [make_throttle(trunk.throttle, anchor=anchors.get(trunk.name, 0.0)) for trunk in study.trunks]
        self.pool = PortPool(ports.low, ports.high, ports.legs, ports.quarantine_s)
        self._carrier_rate = _carrier_rate(carrier.calls_per_second)
        self.channels_limit = carrier.channels
        """Channels that the carrier keeps; `None`: as many as are asked for. A brown-out changes it."""
        self.channels_used = 0

    def ask_throttle(self, trunk: int, direction: Direction, now: float) -> Decision:
        """Whether a trunk's throttle lets a call pass; a direction that it does not count always passes."""
        if direction is Direction.INBOUND and not self._counts_inbound[trunk]:
            return ADMITTED
        return self._throttles[trunk].try_admit(now)

    def take(self, now: float) -> Ports | Disposition:
        """The RTP ports of a call that has a channel too, or why not; then nothing is taken.

        Ports that were taken before the carrier refused are given back like any others: a relay was asked for them.
        """
        ports = self.pool.acquire(now)
        if ports is None:
            return Disposition.NO_PORT
        refusal = self._carrier_refusal(now)
        if refusal is not None:
            self.pool.release(ports, now)
            return refusal
        self.channels_used += 1
        return ports

    def _carrier_refusal(self, now: float) -> Disposition | None:
        if self._carrier_rate is not None and isinstance(self._carrier_rate.try_admit(now), Refused):
            return Disposition.CARRIER_REJECTED
        if self.channels_limit is not None and self.channels_used >= self.channels_limit:
            return Disposition.NO_CHANNEL
        return None

    def give_back(self, ports: Ports, now: float) -> None:
        """Release what `take` gave."""
        self.pool.release(ports, now)
        self.channels_used -= 1


def _carrier_rate(calls_per_second: int | None) -> Throttle | None:
    if calls_per_second is None:
        return None
    return make_throttle(SlidingWindowAdmitted(policy="sliding_window_admitted", limit=calls_per_second, window_s=1.0))
