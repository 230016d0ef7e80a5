"""The reference workload: a small piece of work that never changes, timed again and again while calls are placed.

It says how fast this machine is at the time. A virtual machine gets now more, now less from its host, and nothing tells
it so: in some minutes the same call cost 1.2 ms of CPU, in others 2.1 ms.

The work is arithmetic, and reads of bytes spread over a memory that no cache can hold. It runs in a process of its own,
which stays awake for a moment before it looks at its clock. So it measures what a core does, and not how long the core
takes to wake up. The work has nothing to do with the trunk, but both get slower together: of the kinds of work that
were tried, these two together explained the cost of calls best (correlation 0.91).
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

_EVERY_S, _AWAKE_S = 0.1, 0.0006
_MEMORY_BYTES, _STRIDE, _ADDITIONS = 1 << 25, 4099, 5000
"""The work reads 8,186 bytes each time, one in every 4,099 bytes, so that each is on a page of its own."""
_LINE_BYTES = 64


class ReferenceWorkload:
    """A process that does the work ten times a second, with 1 ms of CPU each time. Use it as a context manager."""

    def __init__(self, cores: Iterable[int] = ()) -> None:
        """Let the process use the trunk's `cores` and those of its caller."""
        self._cores = frozenset(cores)
        self._readings: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        # On the trunk's cores as well, because it is their speed that counts.
        cores = ",".join(map(str, os.sched_getaffinity(0) | self._cores))
        pipe = subprocess.PIPE
        # A session of its own, so that Ctrl-C reaches only the caller. The process ends when its caller's pipe does.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trunkproof.loadgen.meters.reference", cores],
            stdin=pipe,
            stdout=pipe,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="reference workload", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._reader.join()

    def mean_s(self, from_s: float, to_s: float) -> float | None:
        """Return the mean CPU seconds that the work took between two instants of `time.monotonic`. None without any."""
        # A copy, because the thread may append meanwhile.
        readings = [took_s for at_s, took_s in self._readings.copy() if from_s <= at_s <= to_s]
        return sum(readings) / len(readings) if readings else None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at_s, took_s = map(float, line.split())
            self._readings.append((at_s, took_s))


def _work_until_left() -> None:
    memory = b"\x01" * _MEMORY_BYTES
    turn = 0
    while not select.select([sys.stdin], [], [], _EVERY_S)[0]:
        # A core that has just woken is slow for a moment. Let that pass before the clock is read.
        awake_at = time.monotonic() + _AWAKE_S
        while time.monotonic() < awake_at:
            pass
        begun_s, total = time.thread_time(), 0
        # Another cache line each time, so that nothing of the last turn is still in the cache.
        total += len(memory[turn * _LINE_BYTES % _STRIDE :: _STRIDE])
        for number in range(_ADDITIONS):
            total += number * number
        turn += 1
        sys.stdout.write(f"{time.monotonic()} {time.thread_time() - begun_s}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
    _work_until_left()
