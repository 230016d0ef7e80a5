"""Judge whether the load generator itself was healthy: VALID, SUSPECT or VOID, with the reasons.

A generator that cannot keep up looks exactly like a trunk that loses calls. So a run is judged before anybody reads its
figures. `judge` is a pure function of `Measurements`. `HealthProbe` samples event loop and CPU while the run lasts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import TracebackType

import numpy as np

from trunkproof.models.arrays import FloatArray

Seconds = Sequence[float] | FloatArray


class Verdict(StrEnum):
    """How far a run's figures can be trusted."""

    VALID = "valid"
    SUSPECT = "suspect"
    """The generator may have changed the figures. They are shown with a warning."""
    VOID = "void"
    """The figures describe the generator and not the trunk. None is shown."""


@dataclass(frozen=True)
class HealthLimit:
    """A run is SUSPECT above `suspect`, and VOID above `void`. A value that equals a bound still passes."""

    suspect: float
    void: float

    def judge(self, value: float) -> Verdict:
        """Return the verdict on one measured value. NaN is VOID."""
        if value <= self.suspect:
            return Verdict.VALID
        return Verdict.SUSPECT if value <= self.void else Verdict.VOID


@dataclass(frozen=True)
class Limits:
    """The limits of the generator's health, and the reason for each."""

    # 20 ms is one packet time: a smaller delay cannot change the figures of a call, which are all in tens of ms. At 600
    # calls per minute calls are 100 ms apart: with more delay calls change places, and arrivals are not the plan's.
    lateness_p99_ms: HealthLimit = HealthLimit(20.0, 100.0)
    # The event loop reads responses too: its lag is added to every response delay that it measures.
    loop_lag_p99_ms: HealthLimit = HealthLimit(20.0, 100.0)
    # Share of one core. A queue's mean wait is about 6 service times at load 0.85, and about 20 at 0.95: measured
    # delays are then our own.
    cpu_share: HealthLimit = HealthLimit(0.85, 0.95)
    # 10 ms is half a packet time: a receiver would see it as jitter of the network. 60 ms is the modelled jitter
    # buffer: a packet that is later counts as lost, and it is we who lost it.
    media_lateness_p99_ms: HealthLimit = HealthLimit(10.0, 60.0)


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """The measurements of the generator. Lists are empty where nothing was placed or sampled."""

    lateness_s: Seconds = ()
    """For each action, its real start minus its planned instant."""
    loop_lag_s: Seconds = ()
    """For each sample, how much later than asked the event loop woke."""
    cpu_share: float = 0.0
    """CPU time per wall time of one core, in the busiest window."""
    media_lateness_p99_ms: float = 0.0
    never_placed: int = 0
    """Calls whose instant passed without an attempt."""
    workers: int = 1
    """How many processes were measured."""


@dataclass(frozen=True, kw_only=True)
class GeneratorVerdict:
    """The verdict, with the figures that it rests on."""

    verdict: Verdict
    lateness_p50_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float
    loop_lag_p99_ms: float
    cpu_share: float
    media_lateness_p99_ms: float
    never_placed: int = 0
    reasons: tuple[str, ...] = field(default=())
    """Each limit that was passed, in words. Empty for VALID."""
    workers: int = 1
    """How many processes placed the calls together."""


_SEVERITY = tuple(Verdict)


def judge(measured: Measurements, limits: Limits = Limits()) -> GeneratorVerdict:
    """Return the worst verdict of all limits. One call that was never placed makes the run VOID."""
    p50_ms, p99_ms, max_ms = _percentiles_ms(measured.lateness_s, 50, 99, 100)
    (lag_p99_ms,) = _percentiles_ms(measured.loop_lag_s, 99)
    checks = (
        ("calls started late, p99 in ms", p99_ms, limits.lateness_p99_ms),
        ("event loop lag, p99 in ms", lag_p99_ms, limits.loop_lag_p99_ms),
        ("CPU, share of one core", measured.cpu_share, limits.cpu_share),
        ("audio sent late, p99 in ms", measured.media_lateness_p99_ms, limits.media_lateness_p99_ms),
        ("calls never placed", measured.never_placed, HealthLimit(0, 0)),
    )
    found = [(limit.judge(value), what, value, limit) for what, value, limit in checks]
    return GeneratorVerdict(
        verdict=max((verdict for verdict, *_ in found), key=_SEVERITY.index),
        lateness_p50_ms=p50_ms,
        lateness_p99_ms=p99_ms,
        lateness_max_ms=max_ms,
        loop_lag_p99_ms=lag_p99_ms,
        cpu_share=measured.cpu_share,
        media_lateness_p99_ms=measured.media_lateness_p99_ms,
        never_placed=measured.never_placed,
        reasons=tuple(_reason(*each) for each in found if each[0] is not Verdict.VALID),
        workers=measured.workers,
    )


def void(verdict: GeneratorVerdict, reasons: Iterable[str]) -> GeneratorVerdict:
    """Return the verdict made VOID, for reasons that no limit knows. Without reasons return it unchanged."""
    told = tuple(f"{Verdict.VOID}: {reason}" for reason in reasons)
    return replace(verdict, verdict=Verdict.VOID, reasons=verdict.reasons + told) if told else verdict


def worse(first: GeneratorVerdict, name: str, second: GeneratorVerdict | None) -> GeneratorVerdict:
    """Combine the verdicts on two processes of one generator: figures of the first, reasons of both, the worse verdict.

    `name` is put before the reasons of the second. Where the second is None, return the first unchanged.
    """
    if second is None:
        return first
    reasons = first.reasons + tuple(f"{name}: {reason}" for reason in second.reasons)
    return replace(first, verdict=max(first.verdict, second.verdict, key=_SEVERITY.index), reasons=reasons)


def _reason(verdict: Verdict, what: str, value: float, limit: HealthLimit) -> str:
    bound = limit.void if verdict is Verdict.VOID else limit.suspect
    return f"{verdict}: {what}: {value:.4g}, more than {bound:g}"


def _percentiles_ms(values_s: Seconds, *percents: float) -> tuple[float, ...]:
    if not len(values_s):
        return (0.0,) * len(percents)
    return tuple(float(value) * 1000 for value in np.percentile(values_s, percents))


class HealthProbe:
    """Sample event loop and CPU while the `async with` block runs.

    By default `cpu_clock` is that of the whole process. Where audio runs in threads of its own, without the
    interpreter's lock, give `time.thread_time`: then only the event loop's core must not be full.
    """

    INTERVAL_S = 0.02
    """The time between two samples of the event loop, which is also that between two packets."""
    WINDOW_S = 5.0
    """The length of a window of CPU. The busiest one counts, so that a quiet rest of the run cannot hide it."""

    def __init__(self, cpu_clock: Callable[[], float] = time.process_time) -> None:
        self._cpu_clock = cpu_clock
        self._task: asyncio.Task[None] | None = None
        self._window_from = (0.0, 0.0)
        self._window_shares: list[float] = []
        self.loop_lag_s: list[float] = []

    def start(self) -> None:
        """Start sampling."""
        self._window_from = (time.monotonic(), self._cpu_clock())
        self._task = asyncio.create_task(self._sample(), name="health probe")

    async def stop(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if not self._window_shares:
            self._end_window()

    async def __aenter__(self) -> HealthProbe:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def cpu_share(self) -> float:
        """Return CPU time per wall time of one core in the busiest window, or in the whole run if it was shorter."""
        return max(self._window_shares, default=0.0)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked_s = loop.time() + self.INTERVAL_S
            await asyncio.sleep(self.INTERVAL_S)
            self.loop_lag_s.append(max(0.0, loop.time() - asked_s))
            if time.monotonic() - self._window_from[0] >= self.WINDOW_S:
                self._end_window()

    def _end_window(self) -> None:
        wall_s, cpu_s = time.monotonic(), self._cpu_clock()
        from_wall_s, from_cpu_s = self._window_from
        if wall_s > from_wall_s:
            self._window_shares.append((cpu_s - from_cpu_s) / (wall_s - from_wall_s))
        self._window_from = (wall_s, cpu_s)
