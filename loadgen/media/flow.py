"""What the two pumps share: the interface of a stream with its sockets, and the instants at which streams send.

Each pump moves the packets in its own way.
"""

from __future__ import annotations

import random
import socket
from typing import Protocol

from trunkproof.loadgen.media.report import MediaReport
from trunkproof.models.packets import PACKET_S

MOST_CAUGHT_UP = 5
"""Frames that are sent late after a stall. Beyond these 100 ms the frames are given up, as a real telephone does."""

MOST_AT_ONCE = 1024
"""Datagrams that are taken from one socket before others have their turn. Its buffer holds fewer, unless they come
faster than they are read.
"""


class Flow(Protocol):
    """A stream with its sockets. The sockets belong to the pump."""

    @property
    def rtp(self) -> socket.socket:
        """Return the socket that is bound to the RTP port."""

    @property
    def report(self) -> MediaReport | None:
        """Return the final report once the stream is removed, else None."""

    @property
    def sent(self) -> int:
        """Return how many packets were sent so far."""

    def press(self, key: str) -> None:
        """Send a key in place of the next frames, or wait where it is a pause.

        Do nothing where no telephone-events were agreed.

        Raises:
            ValueError: it is neither a key of a telephone nor a pause, or too many wait.
        """


class Instants:
    """Draw when each new stream sends: at a random instant within the 20 ms, independent of all other streams.

    Real telephones are not in step either. Streams in step would cost the trunk less than telephones do, because it
    could take many packets at once, and we would measure a trunk that is too good.
    """

    def __init__(self) -> None:
        self._draws = random.Random()

    def first_after(self, now: float) -> float:
        """Return the first instant of a new stream, in seconds. Its others follow every `PACKET_S`."""
        return now + self._draws.random() * PACKET_S
