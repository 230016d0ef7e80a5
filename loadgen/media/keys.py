"""Keys that are pressed in a call (DTMF), as telephone-events of RFC 4733.

A key lasts 100 ms: five packets, in place of the voice, tell how long it is pressed so far. The fifth is also repeated
three times with the end bit, so that the key still counts if one of them is lost (section 2.5.1.4). All eight have the
timestamp of the key's beginning (section 2.2.1), and the first has the marker.
"""

from __future__ import annotations

from collections import deque

from trunkproof.loadgen.media.rtp import DIGITS, RtpPacket, TelephoneEvent
from trunkproof.models.packets import PACKET_S, SAMPLES_PER_PACKET
from trunkproof.models.speech import PAUSE, PAUSE_S

EVENT_PACKETS, END_PACKETS = 5, 3
PAUSE_FRAMES = round(PAUSE_S / PACKET_S)
MOST_DIGITS = 1024
"""The most received keys that are kept of one call, because a peer may send 50 a second for hours."""
MOST_PRESSED = 64
"""The most keys and pauses that may wait to be sent."""
PRESSABLE = DIGITS + PAUSE
"""What may be pressed. Its order is that of the event codes, with the pause behind them."""


def check_key(key: str, waiting: int) -> None:
    """Raise an error where a key cannot be sent, with `waiting` others still to be sent.

    Raises:
        ValueError: it is neither a key of a telephone nor a pause, or too many wait.
    """
    if len(key) != 1 or key not in PRESSABLE:
        raise ValueError(f"{key!r} is no key of a telephone")
    if waiting >= MOST_PRESSED:
        raise ValueError(f"{waiting} keys still wait to be sent: press {key} later")


class Keypad:
    """The keys and pauses of one stream that wait to be sent."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._step = 0
        """Packets of the first key that were sent, or frames of the first pause."""
        self._begun = 0
        self.sent = 0
        """Keys that were sent to their end."""

    def __len__(self) -> int:
        return len(self._waiting)

    def press(self, key: str) -> None:
        """Have a key sent after those that wait."""
        self._waiting.append(key)

    def next_event(self, timestamp: int) -> tuple[TelephoneEvent, int, bool] | None:
        """Return the event of the next packet, its timestamp, and whether it is the key's first.

        Return None where no key is due: voice is sent then.
        """
        if not self._waiting:
            return None
        key, step = self._waiting[0], self._step
        self._step += 1
        if key == PAUSE:
            self._end_after(PAUSE_FRAMES)
            return None
        if step == 0:
            self._begun = timestamp
        event = TelephoneEvent(key, min(step + 1, EVENT_PACKETS) * SAMPLES_PER_PACKET, end=step >= EVENT_PACKETS)
        self.sent += self._end_after(EVENT_PACKETS + END_PACKETS)
        return event, self._begun, step == 0

    def _end_after(self, steps: int) -> bool:
        if self._step < steps:
            return False
        self._waiting.popleft()
        self._step = 0
        return True


class HeardKeys:
    """The keys that one stream received."""

    def __init__(self) -> None:
        self.digits = ""
        self._last: int | None = None

    def hear(self, packet: RtpPacket) -> None:
        """Take a packet of telephone-events. A key counts at its end, which is sent three times with one timestamp."""
        event = TelephoneEvent.parse(packet.payload)
        if event is not None and event.end and packet.timestamp != self._last:
            self.digits += event.digit if len(self.digits) < MOST_DIGITS else ""
            self._last = packet.timestamp
