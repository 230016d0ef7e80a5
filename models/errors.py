"""The one tree of errors that trunkproof raises on purpose.

    TrunkproofError
    ├── InputError          what the user wrote cannot be used; carries every problem found, not the first
    ├── GuardError          the load would leave loopback without leave
    ├── StackError          a trunk that was to be called cannot be started or reached
    ├── StorageError        this machine has no room: disk full or read-only, no inodes, no descriptors
    └── RemoteError         the peer broke a protocol; becomes a result of the call, never a crash

Any other error that escapes is a bug of ours. `experiments/common/exit_codes.py` has the exit code of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class TrunkproofError(Exception):
    """Root of all errors raised on purpose."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with an input: where it stands, what is wrong, and what to do about it."""

    where: str
    """Key path such as `trunk.throttle.limit`, or a file name."""
    what: str
    line: int | None = None
    """1-based line in the file, where one is known."""

    def __str__(self) -> str:
        line = f"line {self.line}: " if self.line is not None else ""
        return f"{line}{self.where}: {self.what}"


class InputError(TrunkproofError):
    """The user's input cannot be used. `problems` lists all mistakes."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"{source}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class GuardError(TrunkproofError):
    """The target may not be called. The message says how the user can allow it."""


class StackError(TrunkproofError):
    """A trunk could not be started or reached. The message says what is missing."""


class StorageError(TrunkproofError):
    """Results cannot be written. The message says what was being written, why not, and where the rest is."""


class RemoteError(TrunkproofError):
    """The peer sent something that its protocol forbids."""
