"""What a capture keeps, and where it goes. All bounds are bytes or numbers of calls, so a long run stays flat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = "capture"
"""The name of a capture's folder, inside the result folder of its run."""


@dataclass(frozen=True)
class CaptureOptions:
    """Where a capture is written, and how much of it is kept. A capture holds keys and numbers, and is its owner's."""

    folder: Path
    """Each process of the run writes one file into it."""
    per_disposition: int = 5
    """The first calls of each disposition other than `completed` are kept. So a rare fault is not crowded out."""
    slowest: int = 10
    """Of all other calls those are kept that waited longest for the first sign of the far end."""
    message_bytes: int = 65_536
    """SIP messages of one call, both ways. Later ones are counted, not kept."""
    stream_bytes: int = 1_048_576
    """Bytes of one connection as they were sent, both ways, from its first one on. Later ones are not kept."""
    audio_bytes: int = 65_536
    """Datagrams of one call: so many bytes of its first ones, and once to twice as many of its last ones.

    Each of the three is about 2.8 s of both directions at 20 ms.
    """
