"""A model of a playout buffer: it says which packets would have come too late to be played. It holds no audio.

The playing time of a packet follows from its timestamp (RFC 3550 section 5.1), not from its number: packets may carry
20 or 60 ms, and a speaker who pauses sends none. Transit is arrival less timestamp. The first packet is played
`depth_s` after it came, so a packet can be played if its transit is at most that of the first one plus `depth_s`. For
example, with a depth of 60 ms, a packet with the timestamp 200 ms has to arrive within 260 ms of packet 0.

The buffer begins anew where a receiver may move its playing time unheard: with the first packet after a pause (RFC 3551
section 4.1), and where timestamps and arrivals part by `LOST_TRACK_S` although no packet is missing. In between it
follows the speaker's clock, which runs a little faster or slower than ours. It is slow enough to hide no queue.
A packet that is late is lost to the listener, so the MOS counts it as lost.
"""

from __future__ import annotations

from trunkproof.models.voice import JITTER_BUFFER_MS

DEPTH_S = JITTER_BUFFER_MS / 1000
DRIFT_S = 4e-6
"""The most that one packet moves the playing time: 0.2 ms a second. Quartz clocks differ by up to half of that."""
LOST_TRACK_S = 2.0


class JitterBuffer:
    """Judge arrivals one by one, and count the late ones."""

    def __init__(self, depth_s: float = DEPTH_S) -> None:
        self._depth_s = depth_s
        self._latest: float | None = None
        self.late = 0

    def add(self, transit_s: float, *, anew: bool = False) -> bool:
        """Note a packet, with which the buffer begins `anew` or not. Return whether it can still be played."""
        if self._latest is None or anew:
            self._latest = transit_s + self._depth_s
        in_time = transit_s <= self._latest
        self.late += not in_time
        self._latest += min(max(transit_s + self._depth_s - self._latest, -DRIFT_S), DRIFT_S)
        return in_time
