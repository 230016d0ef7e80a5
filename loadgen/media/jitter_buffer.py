"""A model of a playout buffer: it says which packets would have come too late to be played. It holds no audio.

The buffer is fixed, as in many gateways. The first packet is played `depth_s` after it came, and packet n after that is
played n times 20 ms later. For example, with a depth of 60 ms, packet 10 has to arrive within 260 ms of packet 0.
A packet that is late is lost to the listener, so the MOS counts it as lost.
"""

from __future__ import annotations

from trunkproof.models.packets import PACKET_S
from trunkproof.models.voice import JITTER_BUFFER_MS

DEPTH_S = JITTER_BUFFER_MS / 1000


class JitterBuffer:
    """Judge arrivals one by one, and count the late ones."""

    def __init__(self, depth_s: float = DEPTH_S) -> None:
        self._depth_s = depth_s
        self._origin: float | None = None
        self.late = 0

    def add(self, sequence: int, arrival: float) -> bool:
        """Note a packet by its extended sequence number. Return whether it can still be played."""
        if self._origin is None:
            # As if packet 0 had come in time too, so that one sum gives the playing time of any packet.
            self._origin = arrival + self._depth_s - sequence * PACKET_S
        in_time = arrival <= self._origin + sequence * PACKET_S
        self.late += not in_time
        return in_time
