"""How fast this machine is while calls are placed: a small piece of work that never changes, timed again and again.

The host of a virtual machine gives it now more, now less, and says so nowhere. The work is to fetch numbers from all
over a memory that no cache holds: of four kinds that were tried beside real calls (arithmetic, sockets, hashing and
this) its time went best with what the calls cost (correlation 0.94 to 0.97 over minutes in which they cost now 1.7 ms,
now 2.7). It is not in the trunk, and knows nothing of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from functools import cache
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

_EVERY_S = 0.1
_WORDS, _FETCHES, _ROUNDS = 4_000_000, 4_000, 50
"""32 MB of them; a round fetches other ones than the round before."""


@cache
def _memory() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    dice = np.random.default_rng(1)
    return dice.integers(0, 1 << 20, _WORDS), dice.integers(0, _WORDS, (_ROUNDS, _FETCHES))


class Gauge:
    """A thread that does the work ten times a second, some 0.15 ms of CPU each; a context manager."""

    def __init__(self, cores: Iterable[int] = ()) -> None:
        """`cores`: those of the trunk, which it may use beside those of its caller."""
        self._cores = frozenset(cores)
        self._over = threading.Event()
        self._readings: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def mean_s(self, from_s: float, to_s: float) -> float | None:
        """What the work took on average, in seconds of CPU, between two instants of `time.monotonic`."""
        readings = [took_s for at_s, took_s in self._readings.copy() if from_s <= at_s <= to_s]
        return sum(readings) / len(readings) if readings else None

    def _run(self) -> None:
        os.sched_setaffinity(0, os.sched_getaffinity(0) | self._cores)
        memory, rounds = _memory()
        turn = 0
        while not self._over.wait(_EVERY_S):
            begun_s = time.thread_time()
            memory[rounds[turn]].sum()
            self._readings.append((time.monotonic(), time.thread_time() - begun_s))
            turn = (turn + 1) % _ROUNDS
