"""A stream at work on its sockets, as every pump runs it, and the instants at which streams send.

How packets are moved is the pumps'.
"""

from __future__ import annotations

import random
import socket
from typing import Protocol

from trunkproof.loadgen.media.stream import MediaReport
from trunkproof.models.packets import PACKET_S

MOST_CAUGHT_UP = 5
"""After a stall longer than 100 ms the frames between are given up, as a real telephone's are."""


class Flow(Protocol):
    """A stream with its sockets, which are its pump's."""

    @property
    def rtp(self) -> socket.socket:
        """Bound to the RTP port."""

    @property
    def report(self) -> MediaReport | None:
        """The final one, once removed."""

    @property
    def sent(self) -> int:
        """Frames so far."""

    def press(self, digit: str) -> None:
        """Send a key in place of the next frames; nothing where no telephone-events were agreed.

        Raises:
            ValueError: no key of a telephone, or too many are waiting.
        """


class Instants:
    """Where within the 20 ms each new stream sends: anywhere, whatever others do, here or in another process.

    As telephones do. Streams of one trunk that kept in step would cost it less than theirs.
    """

    def __init__(self) -> None:
        self._dice = random.Random()

    def first_after(self, now: float) -> float:
        """The next stream's first instant; the others follow every `PACKET_S`."""
        return now + self._dice.random() * PACKET_S
