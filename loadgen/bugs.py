"""Keep errors of our own apart from those of peers: noted with their traceback, while the run and its records go on.

A peer's error (`RemoteError`) is a result of its call. Any other unexpected error is a bug of ours. Where one call, one
message or one observer fails that way, `note_bug` logs it, and the run hands it over in its result, from which the
command's exit code follows. A worker and the trunk process send theirs to the run.

    with collecting_bugs() as bugs:
        ...
    bugs.found          # one Bug for each traceback, however often it was met
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from trunkproof.loadgen.sip.mask import mask
from trunkproof.loadgen.system.files import write_text

logger = logging.getLogger(__name__)

FILE = "bugs.txt"
MOST_KINDS = 100
"""Tracebacks that are kept. A bug that each of a million calls meets must not fill the memory."""


@dataclass(frozen=True)
class Bug:
    """An unexpected error of ours."""

    where: str
    """What was being done when it was met first, such as `call 17, attempt 0`."""
    error: str
    """Its class and message, masked."""
    traceback: str
    """Masked."""
    times: int = 1

    def __str__(self) -> str:
        again = f" ({self.times} times)" if self.times > 1 else ""
        return f"{self.where}: {self.error}{again}"


class Bugs:
    """The bugs that were met, each traceback once."""

    def __init__(self) -> None:
        self._by_traceback: dict[str, Bug] = {}

    @property
    def found(self) -> tuple[Bug, ...]:
        """Return the bugs, in the order in which they were met first."""
        return tuple(self._by_traceback.values())

    def add(self, bug: Bug) -> bool:
        """Add a bug. Return whether its traceback is a new one."""
        known = self._by_traceback.get(bug.traceback)
        if known is not None:
            self._by_traceback[bug.traceback] = replace(known, times=known.times + bug.times)
        elif len(self._by_traceback) < MOST_KINDS:
            self._by_traceback[bug.traceback] = bug
        return known is None


_collecting: list[Bugs] = []


@contextlib.contextmanager
def collecting_bugs() -> Iterator[Bugs]:
    """Collect the bugs that this process meets while the block runs."""
    # One list for the process and no argument of every class: a bug is met where nobody expected one.
    bugs = Bugs()
    _collecting.append(bugs)
    try:
        yield bugs
    finally:
        _collecting.remove(bugs)


def note_bug(where: str, error: BaseException) -> Bug:
    """Log an unexpected error of ours with its traceback, and hand it to whoever collects bugs."""
    text = mask("".join(traceback.format_exception(error)))
    bug = Bug(where, mask(describe(error)), text)
    # A list and no generator: every collector has to get it.
    news = [bugs.add(bug) for bugs in _collecting]
    if not news or any(news):
        logger.error("a bug of trunkproof, %s\n%s", bug, text)
    return bug


@contextlib.contextmanager
def noting_bugs(where: str) -> Iterator[None]:
    """Note what the block raises, and go on after it. Cancellation is passed on."""
    try:
        yield
    except Exception as error:
        note_bug(where, error)


def describe(error: BaseException) -> str:
    """Return the class and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())


def merged(many: Iterable[Iterable[Bug]]) -> tuple[Bug, ...]:
    """Return the bugs of several processes as one list, each traceback once."""
    bugs = Bugs()
    for some in many:
        for bug in some:
            bugs.add(bug)
    return bugs.found


def write_bugs(bugs: Iterable[Bug], folder: Path) -> None:
    """Write the bugs with their tracebacks to `bugs.txt` in the folder. Without bugs, remove that of an earlier run."""
    text = "\n".join(f"{bug}\n{bug.traceback}" for bug in bugs)
    path = folder / FILE
    if text:
        write_text(path, text)
    else:
        path.unlink(missing_ok=True)
