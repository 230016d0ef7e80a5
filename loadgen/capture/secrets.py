"""Take the TLS secrets of single connections from OpenSSL, which writes those of all connections into one key log."""

from __future__ import annotations

import os
from pathlib import Path

_RANDOM = slice(11, 43)
"""The client's random in its first flight: behind the headers of record and handshake, and two bytes of version."""
_MOST_WAITING = 1000
"""Connections whose secrets nobody has asked for. Their handshakes have failed, or have not ended yet."""
_MOST_BYTES = 1_048_576
_MOST_LINES = 16
"""Of one connection. TLS 1.3 writes five, and more only after key updates."""


class TlsSecrets:
    """The secrets of the connections of one process, by the random number of their ClientHello."""

    def __init__(self, keylog: Path | None = None) -> None:
        """Follow a key log that is written anyway, or make one that is in memory only."""
        self._is_ours = keylog is None
        if keylog is None:
            self._descriptor = os.memfd_create("tls-secrets", os.MFD_CLOEXEC)
            self.path = Path(f"/proc/self/fd/{self._descriptor}")
        else:
            keylog.touch(mode=0o600)
            self._descriptor, self.path = os.open(keylog, os.O_RDONLY | os.O_CLOEXEC), keylog
            os.lseek(self._descriptor, 0, os.SEEK_END)
        self._rest = b""
        self._waiting: dict[bytes, list[str]] = {}

    def take(self, first_flight: bytes) -> tuple[str, ...]:
        """Return the lines of the connection whose client began with these bytes. Empty where there are none."""
        self._read()
        return tuple(self._waiting.pop(first_flight[_RANDOM], ()))

    def close(self) -> None:
        """Close the key log."""
        os.close(self._descriptor)

    def _read(self) -> None:
        size = os.fstat(self._descriptor).st_size
        at = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        *lines, self._rest = (self._rest + os.pread(self._descriptor, max(0, size - at), at)).split(b"\n")
        os.lseek(self._descriptor, size, os.SEEK_SET)
        for line in lines:
            self._sort(line)
        # OpenSSL writes in this thread only, and appends: the next line comes to the front.
        if self._is_ours and size > _MOST_BYTES:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)

    def _sort(self, line: bytes) -> None:
        try:
            _, random, _ = line.split()
            found = self._waiting.setdefault(bytes.fromhex(random.decode()), [])
        except ValueError:  # a comment, or a line that another process is writing
            return
        if len(found) < _MOST_LINES:
            found.append(line.decode())
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
