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

import difflib
import json
from collections.abc import Iterable, Sequence
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


def why_unreadable(error: BaseException) -> str:
    """Return in words why a file cannot be read or used, without the names of Python and its libraries."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} is not JSON"
    return "it is damaged, or of another kind"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint for a word that is not known: the nearest one, or all there are."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean `{near[0]}`?" if near else f"choose one of {', '.join(known)}"


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
