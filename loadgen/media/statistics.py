"""A receiver's statistics of one RTP stream: RFC 3550 appendix A.1 (sequence), A.3 (loss), A.8 (jitter), and silence.

The rules, by example:

- Sequence numbers have 16 bits. We count their rollovers: after 65535 comes 65536, which travels as 0. A number is
  taken for the one nearest to the highest so far, so packets may be up to 32767 late or early.
- Expected is highest - first + 1. Lost is expected less different packets received. After 1, 2, 5: 2 lost.
- A number seen among the last 1024 is a duplicate, and a lower number than the highest is reordered. A late packet is
  no longer lost.
- Jitter is the smoothed change of (arrival - timestamp) from packet to packet. A new difference counts 1/16.
- Silence is the longest time between two arrivals.

RFC 3550 puts a new source on probation until it has sent two packets in sequence. We do not: every packet counted here
is authentic, so no stranger can be counted.
"""

from __future__ import annotations

from trunkproof.models.packets import CLOCK_HZ

MODULUS = 1 << 16
HISTORY = 1024
"""How many packets back we can tell a late packet from a duplicate: 20 s of audio."""


class ReceptionStatistics:
    """The counts of one stream. Arrivals are seconds of any one clock."""

    def __init__(self) -> None:
        self.received = 0
        """Different packets: duplicates do not count."""
        self.duplicate = 0
        self.reordered = 0
        """Packets that came after one with a higher number."""
        self.longest_gap_s = 0.0
        """The longest time between two arrivals."""
        self._first: int | None = None
        self._highest = 0
        self._seen: dict[int, int] = {}
        self._jitter = 0.0
        self._transit: float | None = None
        self._last_arrival: float | None = None
        self._timestamps: tuple[int, int] | None = None
        self._reported = (0, 0)

    def add(self, sequence: int, timestamp: int | None, arrival: float) -> int | None:
        """Note a packet. Return its extended sequence number, or None for a duplicate.

        Without a timestamp a packet counts for everything but jitter. Telephone events are given so: all packets of
        one event repeat its first timestamp (RFC 4733 section 2.2.1), which does not say when they were sent.
        """
        extended = self._extend(sequence)
        # For each number modulo HISTORY, the newest extended number: the same one again is a duplicate.
        newest = self._seen.get(extended % HISTORY, 0)
        if extended == newest:
            self.duplicate += 1
            return None
        self._seen[extended % HISTORY] = max(extended, newest)
        if self.received and extended < self._highest:
            self.reordered += 1
        self._highest = max(self._highest, extended)
        # A packet before the first one may come late, and was expected too.
        self._first = extended if self._first is None else min(self._first, extended)
        self.received += 1
        self._time(timestamp, arrival)
        return extended

    def _extend(self, sequence: int) -> int:
        """Return the number with its rollovers: the nearest to the highest one so far (RFC 3711 section 3.3.1)."""
        if self._first is None:
            return sequence + MODULUS  # one rollover ahead, so that packets before the first have positive numbers too
        delta = (sequence - self._highest) % MODULUS
        return self._highest + (delta if delta < MODULUS // 2 else delta - MODULUS)

    def _time(self, timestamp: int | None, arrival: float) -> None:
        if self._last_arrival is not None:
            self.longest_gap_s = max(self.longest_gap_s, arrival - self._last_arrival)
        self._last_arrival = arrival
        if timestamp is None:
            return
        transit = arrival - self._unwrapped(timestamp) / CLOCK_HZ
        # RFC 3550 A.8: the difference of two transit times does not depend on how far the two clocks are apart.
        if self._transit is not None:
            self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit

    def _unwrapped(self, timestamp: int) -> int:
        if self._timestamps is None:
            self._timestamps = (timestamp, timestamp)
            return timestamp
        last, unwrapped = self._timestamps
        # 32 bits roll over after six days at 8000 a second, or soon, because they begin at a random value.
        delta = (timestamp - last) & 0xFFFFFFFF
        unwrapped += delta if delta < 1 << 31 else delta - (1 << 32)
        self._timestamps = (timestamp, unwrapped)
        return unwrapped

    @property
    def highest(self) -> int:
        """Return the extended highest sequence number received, as RTCP reports it. 0 before the first packet."""
        return 0 if self._first is None else self._highest - MODULUS

    @property
    def expected(self) -> int:
        """Return how many packets there are from the first to the highest one received."""
        return 0 if self._first is None else self._highest - self._first + 1

    @property
    def lost(self) -> int:
        """Return how many expected packets never came (RFC 3550 A.3). A loss after the last packet cannot be seen."""
        return self.expected - self.received

    @property
    def jitter_ms(self) -> float:
        """Return the interarrival jitter in ms (RFC 3550 A.8)."""
        return 1000 * self._jitter

    @property
    def jitter_units(self) -> int:
        """Return the interarrival jitter in timestamp units of 1/8000 s, as RTCP reports it."""
        return int(self._jitter * CLOCK_HZ)

    @property
    def last_arrival(self) -> float | None:
        """Return when the last packet came, or None."""
        return self._last_arrival

    def fraction_lost(self) -> int:
        """Return the share lost since the last call of this method, in 1/256 (RFC 3550 A.3)."""
        expected, received = self.expected - self._reported[0], self.received - self._reported[1]
        # The fraction is about the time since the last report, so the counts of that report are kept.
        self._reported = (self.expected, self.received)
        lost = expected - received
        return 0 if expected <= 0 or lost <= 0 else min(255, (lost << 8) // expected)
