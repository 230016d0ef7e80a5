"""How fast this machine is while calls are placed: a reference workload that never changes, timed again and again.

The host of a virtual machine gives it now more, now less, and says so nowhere. The work is arithmetic, and bytes from
all over a memory that no cache holds, in a process of its own that is awake for a while before it looks at its clock:
it tells what a core does, and not how long that takes to wake. It is not in the trunk and knows nothing of it, yet what
calls cost there goes with it: of kinds of work that were tried, these two together explained most (correlation 0.91
over minutes in which the same call cost now 1.2 ms, now 2.1).
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
"""8,186 bytes at a time, each on a page of its own."""
_LINE_BYTES = 64


class ReferenceWorkload:
    """A process that does the work ten times a second, 1 ms of CPU each time; a context manager."""

    def __init__(self, cores: Iterable[int] = ()) -> None:
        """`cores`: those of the trunk, which it may use beside those of its caller."""
        self._cores = frozenset(cores)
        self._readings: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        cores = ",".join(map(str, os.sched_getaffinity(0) | self._cores))
        pipe = subprocess.PIPE
        # In a session of its own: Ctrl-C is for its caller, and it ends when its caller does.
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
        """What the work took on average, in seconds of CPU, between two instants of `time.monotonic`."""
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
        awake_at = time.monotonic() + _AWAKE_S
        while time.monotonic() < awake_at:
            pass
        begun_s, total = time.thread_time(), 0
        total += len(memory[turn * _LINE_BYTES % _STRIDE :: _STRIDE])
        for number in range(_ADDITIONS):
            total += number * number
        turn += 1
        sys.stdout.write(f"{time.monotonic()} {time.thread_time() - begun_s}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
    _work_until_left()
