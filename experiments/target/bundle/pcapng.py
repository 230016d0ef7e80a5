"""Write a pcapng file: packets with their times and interfaces, and TLS secrets to decrypt them with.

Written here, because no maintained Python package that we found writes Decryption Secrets Blocks: the four kinds of
blocks that are needed have a fixed layout (draft-ietf-opsawg-pcapng, sections 4.1 to 4.3 and 4.7).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

LINK_RAW_IP = 101
"""Link type: the packet begins with its IPv4 or IPv6 header."""
LINK_UPPER_PDU = 252
"""Link type: a message of an upper layer, behind tags that say which, and between whom (Wireshark's own)."""
_SECTION, _INTERFACE, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 6, 0x0A
_TLS_KEY_LOG = 0x544C534B
_NAME, _COMMENT = 2, 1


class PcapngWriter:
    """One pcapng file with one section."""

    def __init__(self, file: BinaryIO, comment: str) -> None:
        """Begin the file. The comment says what it is."""
        self._file = file
        self._interfaces = 0
        header = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        self._block(_SECTION, header + _options([(_COMMENT, comment.encode())]))

    def secrets(self, lines: Iterable[str]) -> None:
        """Write lines of a TLS key log. They must come before the packets that they decrypt."""
        data = "".join(f"{line}\n" for line in lines).encode()
        if data:
            self._block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(data)) + _padded(data))

    def interface(self, link: int, name: str) -> int:
        """Declare an interface. Return its number for `packet`."""
        self._block(_INTERFACE, struct.pack("<HHI", link, 0, 0) + _options([(_NAME, name.encode())]))
        self._interfaces += 1
        return self._interfaces - 1

    def packet(self, interface: int, at_s: float, data: bytes) -> None:
        """Write one packet, of a second of Unix time."""
        # Microseconds are the usual resolution, and all that a float of Unix time has.
        at_us = round(at_s * 1e6)
        header = struct.pack("<IIIII", interface, at_us >> 32, at_us & 0xFFFFFFFF, len(data), len(data))
        self._block(_PACKET, header + _padded(data))

    def _block(self, kind: int, body: bytes) -> None:
        size = 12 + len(body)
        self._file.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options) + bytes(4)
