"""From the kernel's time stamps to the streams' clock, whatever happens to the machine's wall clock.

The kernel stamps each datagram with wall-clock time, but streams use the monotonic clock. The two are apart by an
offset that changes when NTP or an operator sets the wall clock. So each pump looks at the offset again and again.

For a while after a step there are datagrams with both kinds of stamps. A stamp is of before the step if it lies before
the first time that the wall clock can have shown since, or if the new offset would put the arrival into the future.
"""

from __future__ import annotations

import math

STEP_S = 0.01
"""A larger change of the offset is a step. NTP slews by at most half a millisecond a second."""
MEMORY_S = 2.0
"""How long the offset before a step is kept. Each socket is read far more often."""
AHEAD_S = 0.001
"""How far an arrival may be after the time at which the pump began to receive."""
LONGEST_WAIT_S = 60.0
"""No datagram waits so long in a socket. An arrival before that comes of a step that nobody has seen yet."""


class ArrivalClock:
    """The offset between the two clocks of one pump. Times are in seconds."""

    def __init__(self, monotonic_s: float, wall_s: float) -> None:
        self._offset = monotonic_s - wall_s
        self._looked = monotonic_s
        self._before, self._since, self._until = 0.0, 0.0, -math.inf

    def look(self, monotonic_s: float, wall_s: float) -> None:
        """Note what both clocks say at this moment."""
        offset = monotonic_s - wall_s
        if abs(offset - self._offset) > STEP_S:
            self._before, self._until = self._offset, monotonic_s + MEMORY_S
            # The step came at some time since the last look. This is what the wall clock showed then at the least.
            self._since = wall_s - (monotonic_s - self._looked)
        self._offset, self._looked = offset, monotonic_s

    def arrival(self, stamp_s: float, now: float) -> float:
        """Return when a datagram came, on the monotonic clock, by its stamp. `now` is when it was read."""
        at = stamp_s + self._offset
        if now < self._until and (stamp_s < self._since or at > now + AHEAD_S):
            at = stamp_s + self._before
        return at if now - LONGEST_WAIT_S <= at <= now + AHEAD_S else now
