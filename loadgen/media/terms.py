"""What two sides agreed on for their audio, and where a datagram came from compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from trunkproof.loadgen.media.g711 import PCMA, PCMU
from trunkproof.loadgen.media.sockets import Address
from trunkproof.loadgen.media.srtp import Cipher


class Origin(IntEnum):
    """Where a datagram came from, compared with what the peer's SDP says."""

    AGREED = 0
    """The address in the SDP, or any address while none is known."""
    BEFORE = 1
    """The address from before a change, until `GRACE_S` after it."""
    FOUND = 2
    """Another address, from which the peer was heard before."""
    ELSEWHERE = 3


@dataclass(frozen=True, slots=True)
class MediaTerms:
    """What both sides agreed on, as a stream needs it."""

    cipher: Cipher
    remote: Address | None
    """Where the peer receives audio. None where it has told no address, as on an old-style hold: the last one holds."""
    remote_rtcp: Address | None
    """Equal to `remote` where RTCP shares the port of RTP (RFC 5761)."""
    payload_type: int
    """What we send."""
    heard_types: tuple[int, ...]
    """Payload types of voice that the peer may send."""
    a_law_types: frozenset[int] = frozenset({PCMA})
    """Those of both that are A-law. All others are mu-law. A peer may bind both to other types than their own."""
    sent_event_type: int | None = None
    heard_event_type: int | None = None
    sends: bool = True
    hears: bool = True
    echoes: bool = False
    """Whether what is heard is sent back, and nothing else."""

    @property
    def law_sent(self) -> int:
        """Return `PCMA` or `PCMU`, whichever we send."""
        return PCMA if self.payload_type in self.a_law_types else PCMU
