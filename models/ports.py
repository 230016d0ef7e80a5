"""The media port pool of a PoP: it chooses the UDP port pair of the next call, and when a pair may be used again.

It reserves numbers and opens no socket. Its user reports a port that a foreign process holds (`withdraw`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection


class PortPool:
    """Pairs of an even RTP port and the odd RTCP port above it (RFC 3550 section 11), given in rotation.

    A pair is named by its RTP port. The pair that has been free the longest is given first, so numbers ascend and then
    wrap around. Time is a parameter, in seconds on any clock, and never goes backwards from one call to the next.
    """

    def __init__(self, low: int, high: int, legs: int = 1, quarantine_s: float = 0.0) -> None:
        """Make a pool with all its pairs free.

        Args:
            low: first port of the range.
            high: last port of the range, included; both ports of a pair lie within.
            legs: pairs that each call takes.
            quarantine_s: how long a released pair rests before it may be given again.

        Raises:
            ValueError: the range holds no pair for a single call, or a number is out of its bounds.
        """
        if not (0 < low <= high <= 65535 and legs >= 1 and quarantine_s >= 0):
            raise ValueError(f"no port pool: {low}-{high}, {legs} leg(s), {quarantine_s} s of quarantine")
        self._free = deque(range(low + low % 2, high, 2))
        if len(self._free) < legs:
            raise ValueError(f"the range {low}-{high} holds no call of {legs} port pair(s)")
        self._resting: deque[tuple[float, int]] = deque()
        self._used: set[int] = set()
        self._legs, self._quarantine_s = legs, quarantine_s

    @property
    def in_use(self) -> int:
        """Return the number of pairs that calls hold."""
        return len(self._used)

    def free(self, now: float) -> int:
        """Return the number of free pairs at `now`. Pairs in quarantine are not free."""
        self._end_quarantines(now)
        return len(self._free)

    def acquire(self, now: float) -> tuple[int, ...] | None:
        """Take the pairs of one call and return their RTP ports. Return None, and take none, if too few are free."""
        self._end_quarantines(now)
        if len(self._free) < self._legs:
            return None
        ports = tuple([self._free.popleft() for _ in range(self._legs)])
        self._used.update(ports)
        return ports

    def release(self, ports: Collection[int], now: float) -> None:
        """Release pairs. They are free again at `now + quarantine_s`.

        Raises:
            ValueError: one of them is not in use, or is given twice. None is then released.
        """
        given_back = set(ports)
        if len(given_back) != len(ports) or not given_back <= self._used:
            raise ValueError(f"released ports that are not in use: {sorted(ports)}")
        self._used -= given_back
        free_at = now + self._quarantine_s
        self._resting.extend([(free_at, port) for port in ports])

    def withdraw(self, port: int, now: float) -> int | None:
        """Take a pair that turned out to be held by a foreign process out for good, and get another in its place.

        Returns:
            The other pair's RTP port, in use from now on; `None` where none is free: the call then has one pair less.

        Raises:
            ValueError: the pair is not in use.
        """
        if port not in self._used:
            raise ValueError(f"withdrawn port is not in use: {port}")
        self._used.remove(port)
        self._end_quarantines(now)
        if not self._free:
            return None
        other = self._free.popleft()
        self._used.add(other)
        return other

    def _end_quarantines(self, now: float) -> None:
        # Released in the order of time and resting equally long, pairs become free in the order of the queue.
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
