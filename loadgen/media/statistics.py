"""A receiver's statistics of one source: RFC 3550 appendix A.1 (sequence), A.3 (loss), A.8 (jitter), and playout.

The rules, by example:

- Sequence numbers have 16 bits. We count their rollovers: after 65535 comes 65536, which travels as 0.
- Expected is highest - first + 1. Lost is expected less different packets received. After 1, 2, 5: 2 lost.
- A number seen among the last 1024 is a duplicate, and a lower number than the highest is reordered. A late packet is
  no longer lost.
- A number that is 3000 or more ahead, or 1024 or more behind, is a jump, and its packet is left out. If the next
  number follows it, the source began to count anew: what it sent before is summed up, and nothing in between is lost.
- Jitter is the smoothed change of (arrival - timestamp) from packet to packet. A new difference counts 1/16.

RFC 3550 puts a new source on probation until it has sent two packets in sequence. We do not: every packet counted here
is authentic, so no stranger can be counted.

SRTP allows no restart of the numbers with the same source and key, because it would encrypt two packets alike. A
receiver takes the lower numbers for a rollover, or for packets of before. So it counts such packets as not authentic or
as replayed, and they never come here (RFC 3711 section 3.3.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trunkproof.loadgen.media.jitter_buffer import DEPTH_S, LOST_TRACK_S, JitterBuffer
from trunkproof.loadgen.media.silence import PAUSE_S
from trunkproof.models.packets import CLOCK_HZ, SAMPLES_PER_PACKET

MODULUS: Final = 1 << 16
HISTORY: Final = 1024
"""How many packets back we can tell a late packet from a duplicate: 20 s of audio."""
MAX_DROPOUT: Final = 3000
"""How many numbers ahead a packet may be (RFC 3550 appendix A.1): one minute of audio."""
# Values of `ReceptionStatistics.add`, beside the count of missing packets.
BEGUN: Final = -1
"""The first packet of a source."""
REORDERED: Final = -2
DUPLICATE: Final = -3
JUMPED: Final = -4
RESTARTED: Final = -5
"""The packet that confirms a restart, so that the one before it counts too."""


@dataclass(slots=True)
class ReceptionStatistics:
    """The counts of one source. Arrivals are seconds of any one clock."""

    received: int = 0
    """Different packets: duplicates do not count."""
    duplicate: int = 0
    reordered: int = 0
    """Packets that came after one with a higher number."""
    samples: int = SAMPLES_PER_PACKET
    """How much audio the last packet of voice carried."""
    buffer: JitterBuffer = field(default_factory=JitterBuffer)
    _expected_before: int = 0
    _first: int | None = None
    _highest: int = 0
    _seen: int = 0
    """A bit for each of the last `HISTORY` numbers, from the highest on down."""
    _odd: int | None = None
    """The number that would confirm a restart."""
    _jitter: float = 0.0
    _transit: float | None = None
    _last_arrival: float | None = None
    _timestamp: int | None = None
    _unwrapped: int = 0
    _reported: tuple[int, int] = (0, 0)

    def add(self, sequence: int) -> int:
        """Note a packet by its number. Return how many are missing before it, or one of the negative values."""
        if self._first is None:
            self._begin(sequence)
            return BEGUN
        delta = (sequence - self._highest) % MODULUS
        if delta < MAX_DROPOUT:
            return self._advance(delta)
        behind = MODULUS - delta
        if behind < HISTORY:
            return self._go_back(behind)
        if sequence != self._odd:
            self._odd = (sequence + 1) % MODULUS
            return JUMPED
        self._expected_before = self.expected
        self._begin((sequence - 1) % MODULUS)
        self._advance(1)
        return RESTARTED

    def _begin(self, sequence: int) -> None:
        # One rollover ahead, so that packets before the first have positive numbers too.
        self._first = self._highest = sequence + MODULUS
        self._seen, self._odd = 1, None
        self._transit = self._timestamp = None
        self.received += 1

    def _advance(self, delta: int) -> int:
        if delta == 0:
            self.duplicate += 1
            return DUPLICATE
        self._highest += delta
        self._seen = (self._seen << delta | 1) & (1 << HISTORY) - 1
        self.received += 1
        return delta - 1

    def _go_back(self, behind: int) -> int:
        bit = 1 << behind
        if self._seen & bit:
            self.duplicate += 1
            return DUPLICATE
        self._seen |= bit
        # A packet before the first one may come late, and was expected too.
        self._first = min(self._first or 0, self._highest - behind)
        self.received += 1
        self.reordered += 1
        return REORDERED

    def paused(self, missing: int, timestamp: int, arrival: float, *, marker: bool) -> bool:
        """Return whether the source paused before a packet: it sent nothing, where a loss would leave numbers out."""
        last, before = self._last_arrival, self._timestamp
        if missing < 0 or last is None or before is None or arrival - last <= PAUSE_S:
            return False
        samples = (arrival - last) * CLOCK_HZ
        # Packets may be lost around a pause too. So the missing ones must not explain most of it.
        return 2 * missing * self.samples <= samples and (marker or 2 * _step(before, timestamp) >= samples)

    def play(self, missing: int, timestamp: int, arrival: float, *, marker: bool) -> None:
        """Note the time of a packet of voice. It counts for jitter, and it may be late.

        Telephone events are none: all packets of one event repeat its first timestamp (RFC 4733 section 2.2.1), which
        does not say when they were sent.
        """
        if self._timestamp is None:
            self._unwrapped = timestamp
        else:
            # 32 bits roll over after six days at 8000 a second, or soon, because they begin at a random value.
            self._unwrapped += _step(self._timestamp, timestamp)
        self._timestamp = timestamp
        # RFC 3550 A.8: the difference of two transit times does not depend on how far the two clocks are apart.
        transit, last, before = arrival - self._unwrapped / CLOCK_HZ, self._last_arrival, self._transit
        anew = last is None or before is None
        if last is not None and before is not None:
            change = abs(transit - before)
            anew = (marker and arrival - last > DEPTH_S) or (missing == 0 and change > LOST_TRACK_S)
            self._jitter += 0.0 if anew else (change - self._jitter) / 16
        self.buffer.add(transit, anew=anew)
        self._transit = transit

    def note(self, arrival: float) -> None:
        """Note when a packet came, after all other things were noted of it."""
        self._last_arrival = arrival

    def take(self, other: ReceptionStatistics) -> None:
        """Add the counts of another source."""
        self._expected_before += other.expected
        self.received += other.received
        self.duplicate += other.duplicate
        self.reordered += other.reordered
        self.buffer.late += other.buffer.late

    @property
    def begun(self) -> bool:
        """Return whether a packet was noted."""
        return self._first is not None

    @property
    def highest(self) -> int:
        """Return the extended highest sequence number received, as RTCP reports it. 0 before the first packet."""
        return 0 if self._first is None else self._highest - MODULUS

    @property
    def expected(self) -> int:
        """Return how many packets there are from the first to the highest one received."""
        return self._expected_before + (0 if self._first is None else self._highest - self._first + 1)

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

    def fraction_lost(self) -> int:
        """Return the share lost since the last call of this method, in 1/256 (RFC 3550 A.3)."""
        expected, received = self.expected - self._reported[0], self.received - self._reported[1]
        # The fraction is about the time since the last report, so the counts of that report are kept.
        self._reported = (self.expected, self.received)
        lost = expected - received
        return 0 if expected <= 0 or lost <= 0 else min(255, (lost << 8) // expected)


def _step(before: int, after: int) -> int:
    """Return the difference of two timestamps of 32 bits, with its sign."""
    delta = (after - before) & 0xFFFFFFFF
    return delta if delta < 1 << 31 else delta - (1 << 32)
