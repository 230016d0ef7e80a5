"""The format of a journal: one batch of entries a line, with its checksum. Reading repairs a torn end.

    5f0c2a91 [["began",{"row":17,...}],["ended",{"row":12,...}]]

- The first eight characters are the CRC-32 of the JSON text behind the blank, in hexadecimal.
- A line that has no end, or another checksum, was being written when the process or the machine died. It is left out.
- So is a line that was damaged later: the next line begins a batch that can be read again.
- Text and not a binary format: the file has to be readable on the worst day, with `less` and `jq`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_CHECKSUM = 8
_READ = 1 << 20
_LONGEST_LINE = 1 << 28
"""A damaged file without line breaks must not fill the memory."""


class EntryKind(StrEnum):
    """What an entry tells."""

    PROCESS = "process"
    """The first entry of a file: whose journal it is."""
    ZERO = "zero"
    """Plan zero and the trunk's anchors."""
    BEGAN = "began"
    """An attempt began: what is known of its record."""
    ENDED = "ended"
    """An attempt is over: its record."""
    EVENT = "event"
    """Something happened to a program of the trunk."""
    CONTROL = "control"
    """The user changed the rate, paused, resumed, drained or stopped the run."""
    METERS = "meters"
    """A reading of the meters."""
    HEALTH = "health"
    """New measurements of the generator's own health."""
    ORPHANED = "orphaned"
    """The run is gone. The ends of attempts that follow were made by this process, not by the trunk or a far end."""
    RESULT = "result"
    """How the run ended, and what was measured beside tables. The last entry of a run that was not killed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry."""

    kind: EntryKind
    value: Any


def encode(entries: Iterable[Entry]) -> bytes:
    """Return a batch as one line."""
    text = json.dumps([[entry.kind, entry.value] for entry in entries], separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> list[Entry] | None:
    """Return the entries of a line without its line break, or None for a damaged one."""
    checksum, blank, text = line[:_CHECKSUM], line[_CHECKSUM : _CHECKSUM + 1], line[_CHECKSUM + 1 :]
    # The checksum comes first: what it does not cover is no JSON of ours, whatever it looks like.
    if blank != b" " or checksum != b"%08x" % zlib.crc32(text):
        return None
    # A newer version may have kinds of entries that this one does not know.
    known = {kind.value for kind in EntryKind}
    return [Entry(EntryKind(kind), value) for kind, value in json.loads(text) if kind in known]


class JournalReader:
    """Reads a journal from its beginning, again and again while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""
        self.damaged = 0
        """Whole lines that could not be read."""

    @property
    def torn_bytes(self) -> int:
        """Return the bytes after the last whole line. In the journal of a process that has ended, they are lost."""
        return len(self._rest)

    def read_new(self) -> Iterator[Entry]:
        """Yield the entries that were written since the last call.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:  # Its process has not begun to write.
            return
        with file:
            file.seek(self._offset)
            while block := file.read(_READ):
                self._offset += len(block)
                *lines, self._rest = (self._rest + block).split(b"\n")
                if len(self._rest) > _LONGEST_LINE:
                    self._rest = b""
                for line in lines:
                    entries = decode(line)
                    self.damaged += entries is None
                    yield from entries or ()
