"""What a number of calls' audio came to, and what it cost in a window of time in which all of them were up.

All systems are counted and timed alike. A window in which a machine was too busy to carry the calls at quality is no
measurement; one in which wrong packets came back is an error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from trunkproof.experiments.benchmarks.running import BenchmarkError

SETTLE_S = 1.0
"""From the last call's beginning to the window, so that nothing of their setup is in it."""
FRAME_S = 0.02
MOST_LOST = 0.001
"""Share of packets up to which audio is as good as undisturbed."""


@dataclass(frozen=True)
class Cost:
    """What a process spent in a window."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Heard:
    """Packets of all calls together."""

    wanted: int
    """As many as go out every 20 ms in the time that was counted."""
    sent: int
    received: int
    authenticated: int
    odd: int = 0
    """Authentic, but not the audio that was to come; 0 where nobody looked."""
    under_way: int = 0
    """So many of those sent may have been on their way back when counting ended."""


@dataclass(frozen=True)
class AudioWindow:
    """One measurement."""

    calls: int
    heard: Heard
    cost: Cost
    lateness_p99_ms: float | None = None
    """How late packets left, where that was measured."""
    excuse: str | None = None
    """Why the caller itself says that its figures are nothing worth."""

    @property
    def us_per_tick(self) -> float:
        """CPU of one call for 20 ms: a packet sent and one heard."""
        return 1e6 * FRAME_S * self.cost.cpu_s / (self.cost.wall_s * self.calls)

    @property
    def calls_per_core(self) -> float:
        """Two-way calls that one core carries at this cost."""
        return self.calls * self.cost.wall_s / self.cost.cpu_s

    @property
    def shortfall(self) -> str | None:
        """Why these were not so many calls at quality; `None` where they were."""
        heard = self.heard
        if self.excuse is not None:
            return self.excuse
        if heard.sent < (1 - MOST_LOST) * heard.wanted:
            return f"{100 * (1 - heard.sent / heard.wanted):.2f} % of the packets were not sent in time"
        if heard.authenticated + heard.under_way < (1 - MOST_LOST) * heard.sent:
            return f"{100 * (1 - heard.authenticated / heard.sent):.2f} % of the packets did not come back"
        return None

    def check(self, who: str) -> AudioWindow:
        """This.

        Raises:
            BenchmarkError: what came back was not what had to come: no matter how fast, that is wrong.
        """
        heard = self.heard
        if heard.authenticated < heard.received:
            raise BenchmarkError(f"{who}: {heard.received - heard.authenticated} packets were not authentic")
        if heard.odd:
            raise BenchmarkError(f"{who}: {heard.odd} packets were not the audio of their call")
        return self


async def cost_of(window_s: float, begin: Callable[[], None] = lambda: None) -> Cost:
    """What this process spends in a window, from when its calls have settled; `begin` is called as it opens."""
    await asyncio.sleep(SETTLE_S)
    begin()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(window_s)
    return Cost(time.process_time() - cpu_s, time.perf_counter() - wall_s)
