"""The limits that a call meets at a PoP, in their order: throttle, port pool, carrier rate, carrier channels.

The simulator and the embedded trunk use the same object: one in simulated time, the other on the real clock. It only
takes and gives back. Its users delay calls and send refusals.
"""

from __future__ import annotations

from collections.abc import Mapping

from trunkproof.models.channels import ChannelPool
from trunkproof.models.ports import PortPool
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import ADMITTED, Decision, Refused, Throttle
from trunkproof.models.throttles.policy import Joined, Policy
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted

Ports = tuple[int, ...]


class CarrierLimits:
    """The limits of the carrier behind a PoP: calls in any second, calls at once."""

    def __init__(self, study: Study) -> None:
        carrier, self._pool_of = study.pop.carrier, study.channel_pools
        self._rate = _carrier_rate(carrier.calls_per_second)
        self._pools = [ChannelPool(carrier.channels, carrier.burst) for _ in range(max(self._pool_of) + 1)]
        self.left: int | None = None
        """The channels that a brown-out leaves to the whole PoP. None without a brown-out."""

    @property
    def used(self) -> int:
        """Return the number of channels in use."""
        return sum(pool.used for pool in self._pools)

    def take(self, trunk: int, now: float) -> Disposition | None:
        """Take a channel for a call of that trunk. Return None, or why there is none; then nothing is taken."""
        if self._rate is not None and isinstance(self._rate.try_admit(now), Refused):
            return Disposition.CARRIER_REJECTED
        if self.left is not None and self.used >= self.left:
            return Disposition.NO_CHANNEL
        return None if self._pools[self._pool_of[trunk]].take(now) else Disposition.NO_CHANNEL

    def hold(self, trunk: int) -> None:
        """Count a call that is up already, without checking the limits."""
        self._pools[self._pool_of[trunk]].used += 1

    def give_back(self, trunk: int, now: float) -> None:
        """Release a channel of `take` or `hold`."""
        self._pools[self._pool_of[trunk]].give_back(now)


class Limits:
    """The limits of one PoP, unused at first. Times are seconds of any one clock that does not run backwards."""

    def __init__(self, study: Study, anchors: Mapping[str, float]) -> None:
        """Make the limits. `anchors` is trunk name -> when a window of its throttle begins (default 0)."""
        ports = study.pop.ports
        self._limited = [_limited_directions(trunk.throttle) for trunk in study.trunks]
        # With a throttle per edge each edge has its own count, also of a shared limit.
        counts = len(study.pop.doors) if study.pop.throttle_per == "edge" else 1
        self._throttles = [throttles_of(study, anchors) for _ in range(counts)]
        self.pool = PortPool(ports.low, ports.high, ports.legs, ports.quarantine_s)
        self.carrier = CarrierLimits(study)

    def ask_throttle(self, trunk: int, direction: Direction, now: float, edge: int = 0) -> Decision:
        """Ask a trunk's throttle about a call. Calls of a direction that it does not count always pass.

        `edge` is where the call comes in, which matters only where each edge counts for itself. Inbound calls count at
        the first.
        """
        if not self.is_limited(trunk, direction):
            return ADMITTED
        return self._throttles[edge % len(self._throttles)][trunk].try_admit(now)

    def is_limited(self, trunk: int, direction: Direction) -> bool:
        """Tell whether a trunk's throttle counts calls of that direction."""
        return direction in self._limited[trunk]

    def restart_throttles(self, now: float) -> None:
        """Restart the throttles, as after a restart of their process. The carrier's own limit is not affected."""
        for throttles in self._throttles:
            for throttle in throttles:
                throttle.restart(now)

    def take(self, trunk: int, now: float) -> Ports | Disposition:
        """Take ports and a channel for a call. Return its RTP ports, or why there are none; then nothing is taken.

        If the carrier refuses, the ports are released as after a call, with their quarantine: the relay had them.
        """
        ports = self.pool.acquire(now)
        if ports is None:
            return Disposition.NO_PORT
        refusal = self.carrier.take(trunk, now)
        if refusal is not None:
            self.pool.release(ports, now)
            return refusal
        return ports

    def give_back(self, trunk: int, ports: Ports, now: float) -> None:
        """Release the ports and the channel of a call."""
        self.pool.release(ports, now)
        self.carrier.give_back(trunk, now)


def throttles_of(study: Study, anchors: Mapping[str, float]) -> list[Throttle]:
    """Return the throttle of each trunk. Trunks that share a limit have the same object, also as a part of theirs.

    `anchors` is trunk name -> when a window of its throttle begins (default 0).
    """
    counts: dict[tuple[str, str], Throttle] = {}

    def made(policy: Policy, trunk: int) -> Throttle:
        key = study.count_of(policy, trunk)
        if key is not None and key in counts:
            return counts[key]
        if isinstance(policy, Joined):
            throttle = policy.join([made(part, trunk) for part in policy.parts])
        else:
            # The windows of a shared limit are those of the first trunk that names it.
            throttle = policy.make_throttle(anchor=anchors.get(study.trunks[trunk].name, 0.0))
        if key is not None:
            counts[key] = throttle
        return throttle

    return [made(trunk.throttle, index) for index, trunk in enumerate(study.trunks)]


def _limited_directions(policy: Policy) -> tuple[Direction, ...]:
    if not policy.is_asked:
        return ()
    return (Direction.OUTBOUND, Direction.INBOUND) if policy.counts == "both" else (Direction.OUTBOUND,)


def _carrier_rate(calls_per_second: int | None) -> Throttle | None:
    if calls_per_second is None:
        return None
    return SlidingWindowAdmitted(limit=calls_per_second, window_s=1.0).make_throttle()
