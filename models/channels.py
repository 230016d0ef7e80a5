"""A pool of carrier channels: so many calls at once, and for a limited time some more.

The operator says of a burst that it is "above the base limit for a limited time" and no more. Our interpretation:

- a call may be one of up to `burst.channels` as long as less than `burst.for_s` is spent;
- time is spent while more than the base are in use, second for second, in one piece or in several;
- once all is spent, no call is let in above the base; calls that are up stay up;
- once use has been at or below the base for `burst.for_s` without a break, the whole burst is there again.

A burst that came back second by second would not protect the carrier: a moment's rest would let in one more call above
the base, and that call stays.

Every call counts from the instant at which it is let in, ringing included, until it is over; calls of both directions
count alike, each once. An application that joins two parties makes two calls, and takes two channels.
"""

from __future__ import annotations

from trunkproof.models.study import Burst
from trunkproof.models.throttles.decision import SAME_INSTANT_S


class ChannelPool:
    """The channels of one account, or of a PoP. Times are seconds of any one clock that does not run backwards."""

    __slots__ = ("_base", "_burst_s", "_most", "_rests_since_s", "_settled_s", "_spent_s", "used")

    def __init__(self, base: int | None, burst: Burst | None) -> None:
        """`base`: calls at once; `None`: as many as come."""
        self._base = base
        self._most, self._burst_s = (0, 0.0) if burst is None else (burst.channels, burst.for_s)
        self._spent_s, self._settled_s, self._rests_since_s = 0.0, 0.0, 0.0
        self.used = 0

    def take(self, now: float) -> bool:
        """Take a channel; False: all are in use, and none is taken."""
        self._settle(now)
        if self._base is not None and self.used >= self._base and not self._lends():
            return False
        self.used += 1
        return True

    def give_back(self, now: float) -> None:
        """Release what `take` gave."""
        self._settle(now)
        self.used -= 1

    def _lends(self) -> bool:
        return self.used < self._most and self._spent_s < self._burst_s - SAME_INSTANT_S

    def _settle(self, now: float) -> None:
        """Bring the time spent up to date; between two calls of this, use did not change."""
        if self._base is None or not self._most:
            return
        if self.used > self._base:
            self._spent_s = min(self._burst_s, self._spent_s + (now - self._settled_s))
            # The rest begins when the last call above the base is over: at the earliest now.
            self._rests_since_s = now
        elif now - self._rests_since_s >= self._burst_s - SAME_INSTANT_S:
            self._spent_s = 0.0
        self._settled_s = now
