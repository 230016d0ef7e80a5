"""A pool of carrier channels: a number of calls at once, and for a limited time some more.

The operator says only that a burst is "above the base limit for a limited time". Our interpretation:

- Up to `burst.channels` calls may be up as long as less than `burst.for_s` of the burst's time is spent.
- Time is spent, second for second, while more than the base limit is in use.
- Once all time is spent, no more call is admitted above the base. Calls that are up stay up.
- Once use was at or below the base for `burst.for_s` without a break, the whole time of the burst is back.

If the time came back second by second, the carrier would not be protected: a short rest would admit one more call above
the base, and that call stays.

Every call counts from its admission, ringing included, until its end. Calls of both directions count the same. An
application that joins two parties makes two calls, and takes two channels.
"""

from __future__ import annotations

from trunkproof.models.study import Burst
from trunkproof.models.throttles.decision import SAME_INSTANT_S


class ChannelPool:
    """The channels of one account, or of a PoP. Times are seconds of any one clock that does not run backwards."""

    __slots__ = ("_base", "_burst_s", "_most", "_rests_since_s", "_settled_s", "_spent_s", "used")

    def __init__(self, base: int | None, burst: Burst | None) -> None:
        """Make a pool. `base` is the limit of calls at once. None means no limit."""
        self._base = base
        self._most, self._burst_s = (0, 0.0) if burst is None else (burst.channels, burst.for_s)
        self._spent_s, self._settled_s, self._rests_since_s = 0.0, 0.0, 0.0
        self.used = 0

    def take(self, now: float) -> bool:
        """Take a channel. Return False, and take none, if all are in use."""
        self._settle(now)
        if self._base is not None and self.used >= self._base and not self._lends():
            return False
        self.used += 1
        return True

    def give_back(self, now: float) -> None:
        """Release a channel."""
        self._settle(now)
        self.used -= 1

    def _lends(self) -> bool:
        return self.used < self._most and self._spent_s < self._burst_s - SAME_INSTANT_S

    def _settle(self, now: float) -> None:
        """Bring the spent time up to date. Use has not changed since the last call of this method."""
        if self._base is None or not self._most:
            return
        if self.used > self._base:
            self._spent_s = min(self._burst_s, self._spent_s + (now - self._settled_s))
            # The rest begins when the last call above the base is over: at the earliest now.
            self._rests_since_s = now
        elif now - self._rests_since_s >= self._burst_s - SAME_INSTANT_S:
            self._spent_s = 0.0
        self._settled_s = now
