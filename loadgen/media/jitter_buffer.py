"""A modelled playout buffer: which packets would have come too late to be played. It holds no audio.

A fixed buffer, as gateways have: the first packet is played `depth_s` after it came, every other one at its own place
behind it. Late packets are lost packets to the ear.
"""

from __future__ import annotations

from trunkproof.models.packets import PACKET_S
from trunkproof.models.voice import JITTER_BUFFER_MS

DEPTH_S = JITTER_BUFFER_MS / 1000


class JitterBuffer:
    """Judges arrivals, O(1) each."""

    def __init__(self, depth_s: float = DEPTH_S) -> None:
        self._depth_s = depth_s
        self._origin: float | None = None
        self.late = 0

    def add(self, sequence: int, arrival: float) -> bool:
        """Note a packet by its extended sequence number; whether it can still be played."""
        if self._origin is None:
            self._origin = arrival + self._depth_s - sequence * PACKET_S
        in_time = arrival <= self._origin + sequence * PACKET_S
        self.late += not in_time
        return in_time
