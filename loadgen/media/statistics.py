"""What one receiver notes of one RTP stream: RFC 3550 appendix A.1 (sequence), A.3 (loss) and A.8 (jitter), and
silence.

Probation of a new source is left out: every packet counted here is authentic, so there is no stranger to keep waiting
for.
"""

from __future__ import annotations

from trunkproof.models.packets import CLOCK_HZ

MODULUS = 1 << 16
HISTORY = 1024
"""Packets back to which a late one is told from a duplicate: 20 s of audio."""


class ReceptionStatistics:
    """Counts of a stream; arrivals are seconds on any one clock."""

    def __init__(self) -> None:
        self.received = 0
        """Different packets."""
        self.duplicate = 0
        self.reordered = 0
        """Arrived after a packet with a higher number."""
        self.longest_gap_s = 0.0
        """Longest time between two arrivals."""
        self._first: int | None = None
        self._highest = 0
        self._seen: dict[int, int] = {}
        self._jitter = 0.0
        self._transit: float | None = None
        self._last_arrival: float | None = None
        self._timestamps: tuple[int, int] | None = None
        self._reported = (0, 0)

    def add(self, sequence: int, timestamp: int | None, arrival: float) -> int | None:
        """Note a packet; its extended sequence number, or `None` for a duplicate.

        Without a timestamp a packet counts for everything but jitter: telephone events repeat the one of their
        beginning (RFC 4733 section 2.2.1), which says nothing about when they were sent.
        """
        extended = self._extend(sequence)
        newest = self._seen.get(extended % HISTORY, 0)
        if extended == newest:
            self.duplicate += 1
            return None
        self._seen[extended % HISTORY] = max(extended, newest)
        if self.received and extended < self._highest:
            self.reordered += 1
        self._highest = max(self._highest, extended)
        self._first = extended if self._first is None else min(self._first, extended)
        self.received += 1
        self._time(timestamp, arrival)
        return extended

    def _extend(self, sequence: int) -> int:
        """The number with the rollovers counted: the nearest to the highest one so far (RFC 3711 section 3.3.1)."""
        if self._first is None:
            return sequence + MODULUS
        delta = (sequence - self._highest) % MODULUS
        return self._highest + (delta if delta < MODULUS // 2 else delta - MODULUS)

    def _time(self, timestamp: int | None, arrival: float) -> None:
        if self._last_arrival is not None:
            self.longest_gap_s = max(self.longest_gap_s, arrival - self._last_arrival)
        self._last_arrival = arrival
        if timestamp is None:
            return
        transit = arrival - self._unwrapped(timestamp) / CLOCK_HZ
        if self._transit is not None:
            self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit

    def _unwrapped(self, timestamp: int) -> int:
        if self._timestamps is None:
            self._timestamps = (timestamp, timestamp)
            return timestamp
        last, unwrapped = self._timestamps
        delta = (timestamp - last) & 0xFFFFFFFF
        unwrapped += delta if delta < 1 << 31 else delta - (1 << 32)
        self._timestamps = (timestamp, unwrapped)
        return unwrapped

    @property
    def highest(self) -> int:
        """Extended highest sequence number received, as RTCP reports it; 0 before the first packet."""
        return 0 if self._first is None else self._highest - MODULUS

    @property
    def expected(self) -> int:
        """Packets from the first to the highest one received."""
        return 0 if self._first is None else self._highest - self._first + 1

    @property
    def lost(self) -> int:
        """Expected and never received (RFC 3550 A.3); what was lost after the last one received cannot be seen."""
        return self.expected - self.received

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter (RFC 3550 A.8), in ms."""
        return 1000 * self._jitter

    @property
    def jitter_units(self) -> int:
        """The same in timestamp units, as RTCP reports it."""
        return int(self._jitter * CLOCK_HZ)

    @property
    def last_arrival(self) -> float | None:
        """When the newest packet came."""
        return self._last_arrival

    def fraction_lost(self) -> int:
        """Share lost since the last call of this, in 1/256 (RFC 3550 A.3)."""
        expected, received = self.expected - self._reported[0], self.received - self._reported[1]
        self._reported = (self.expected, self.received)
        lost = expected - received
        return 0 if expected <= 0 or lost <= 0 else min(255, (lost << 8) // expected)
