"""How long nothing came that should have come: the longest silence of a call, and the time in which its peer paused.

A telephone that detects silence sends nothing while nobody speaks. Such a pause is no fault. It is told from a loss by
the numbers of the packets: after a pause they go on where they stopped, while the timestamps have moved on, or the
marker says that speech begins (RFC 3551 section 4.1). After a loss, numbers are missing.

At the end of a call no packet follows that could tell. Silence there is a pause if comfort noise announced it (RFC
3389), or if this peer has paused before. Silence counts only while the peer may send: not on hold.
"""

from __future__ import annotations

PAUSE_S = 0.2
"""A shorter time without a packet is jitter."""


class Silence:
    """The silence of one stream. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.longest_s = self.paused_s = 0.0
        self._since: float | None = None
        self._paused = False
        self._announced = False

    def listen(self, now: float) -> None:
        """Count silence from now on, unless it counts already."""
        if self._since is None:
            self._since = now

    def stop(self, now: float) -> None:
        """Count no silence from now on: the peer may not send any more."""
        self.longest_s, self.paused_s = self.by(now)
        self._since = None

    def by(self, now: float) -> tuple[float, float]:
        """Return the longest silence and the time of pauses, if nothing more comes until `now`."""
        if self._since is None:
            return self.longest_s, self.paused_s
        gap_s = now - self._since
        if gap_s > PAUSE_S and (self._paused or self._announced):
            return self.longest_s, self.paused_s + gap_s
        return max(self.longest_s, gap_s), self.paused_s

    def heard(self, arrival: float, *, pause: bool, announced: bool) -> None:
        """Note a packet. Before it there was a `pause` or not, and it may have `announced` one."""
        self._paused, self._announced = self._paused or pause, announced
        if self._since is None:
            return
        if pause:
            self.paused_s += arrival - self._since
        else:
            self.longest_s = max(self.longest_s, arrival - self._since)
        self._since = max(self._since, arrival)
