"""Measure the audio of a number of calls in a window of time in which all of them are up: packets, and CPU.

All systems are counted and timed in the same way. A window in which the machine was too busy to carry the calls at
quality is no measurement. A window in which wrong packets came back is an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from trunkproof.experiments.benchmarks.running import BenchmarkError

SETTLE_S = 1.0
"""Wait from the beginning of the last call to the window, so that no call setup is in it."""
FRAME_S = 0.02
MOST_LOST = 0.001
"""Audio counts as undisturbed up to this share of lost packets."""


@dataclass(frozen=True)
class Cost:
    """What a process spent in a window."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Heard:
    """Packets of all calls together, in the counted time."""

    wanted: int
    """Packets due in the counted time, one every 20 ms per call."""
    sent: int
    received: int
    authenticated: int
    odd: int = 0
    """Authentic packets with other audio than expected; 0 where it was not checked."""
    under_way: int = 0
    """Sent packets that may have been on their way back when counting ended."""


@dataclass(frozen=True)
class AudioWindow:
    """One measurement in a window."""

    calls: int
    heard: Heard
    cost: Cost
    lateness_p99_ms: float | None = None
    """How late packets left, 99th percentile; None where it was not measured."""
    excuse: str | None = None
    """Why the caller itself says that its figures are worthless; None where it does not."""

    @property
    def us_per_tick(self) -> float:
        """Return the CPU of one call for 20 ms, in microseconds: one packet sent and one received."""
        return 1e6 * FRAME_S * self.cost.cpu_s / (self.cost.wall_s * self.calls)

    @property
    def calls_per_core(self) -> float:
        """Return how many two-way calls one core carries at this cost."""
        return self.calls * self.cost.wall_s / self.cost.cpu_s

    @property
    def shortfall(self) -> str | None:
        """Return why these calls were not carried at quality; None where they were."""
        heard = self.heard
        if self.excuse is not None:
            return self.excuse
        if heard.sent < (1 - MOST_LOST) * heard.wanted:
            return f"{100 * (1 - heard.sent / heard.wanted):.2f} % of the packets were not sent in time"
        if heard.authenticated + heard.under_way < (1 - MOST_LOST) * heard.sent:
            return f"{100 * (1 - heard.authenticated / heard.sent):.2f} % of the packets did not come back"
        return None

    def check(self, who: str) -> AudioWindow:
        """Return this window after checking that the right packets came back.

        Raises:
            BenchmarkError: wrong packets came back; then speed does not matter.
        """
        heard = self.heard
        if heard.authenticated < heard.received:
            raise BenchmarkError(f"{who}: {heard.received - heard.authenticated} packets were not authentic")
        if heard.odd:
            raise BenchmarkError(f"{who}: {heard.odd} packets were not the audio of their call")
        return self


async def cost_of(window_s: float, begin: Callable[[], None] = lambda: None) -> Cost:
    """Measure what this process spends in a window, once its calls have settled. `begin` is called as it opens."""
    await asyncio.sleep(SETTLE_S)
    begin()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(window_s)
    return Cost(time.process_time() - cpu_s, time.perf_counter() - wall_s)
