"""Which cores of this machine a trunk's programs have to themselves, and how those who call them keep off.

Whether a packet's reader sits on the sender's core decides what the packet costs both of them (measured: 20 to 36 us of
rtpengine's time by the scheduler's mood, 20 to 22 on a core of its own); so the two sides never share one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence


def take_cores(wanted: int) -> tuple[int, ...]:
    """The first so many cores that this process may use; none where that would leave nothing to those who call."""
    usable = sorted(os.sched_getaffinity(0))
    return tuple(usable[:wanted]) if wanted < len(usable) and shutil.which("taskset") else ()


def on_cores(cores: Sequence[int]) -> tuple[str, ...]:
    """Put before a command: it and its children run on these cores alone."""
    return ("taskset", "--cpu-list", ",".join(map(str, cores))) if cores else ()


@contextlib.contextmanager
def keeping_off(cores: Sequence[int]) -> Iterator[None]:
    """This thread, and whatever it starts, leaves these cores alone while the block runs.

    It does nothing where no other core would be left, as for a trunk that has them all.
    """
    before = os.sched_getaffinity(0)
    others = before - set(cores)
    if not others:
        yield
        return
    os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
