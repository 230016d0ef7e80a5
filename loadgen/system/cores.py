"""Give a trunk's programs cores of this machine to themselves, and keep their callers off these cores.

A packet's cost depends on whether its reader runs on the sender's core. Measured: a packet took rtpengine 20 to 36 us,
depending on where the scheduler put it, and 20 to 22 us on cores of its own. So the two sides never share a core.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence


def take_cores(wanted: int) -> tuple[int, ...]:
    """Return the first `wanted` cores that this process may use, or none if no core would be left for the callers."""
    usable = sorted(os.sched_getaffinity(0))
    # A trunk without cores of its own is better than a generator without any, which would be VOID.
    return tuple(usable[:wanted]) if wanted < len(usable) and shutil.which("taskset") else ()


def on_cores(cores: Sequence[int]) -> tuple[str, ...]:
    """Return words to put before a command, so that it and its children run on these cores only."""
    return ("taskset", "--cpu-list", ",".join(map(str, cores))) if cores else ()


@contextlib.contextmanager
def keeping_off(cores: Sequence[int]) -> Iterator[None]:
    """Keep this thread, and what it starts, off these cores while the block runs.

    Do nothing where no other core would be left, as for a trunk that has all of them.
    """
    before = os.sched_getaffinity(0)
    others = before - set(cores)
    if not others:
        yield
        return
    # On Linux this is about the calling thread. Threads and processes that it starts inherit it.
    os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
