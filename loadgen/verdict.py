"""Whether the load generator itself was healthy: VALID, SUSPECT or VOID, with the reasons.

A generator out of breath looks exactly like a trunk that loses calls, so a run is judged before its figures are read.
`judge` is a pure function of `Measurements`; `HealthProbe` takes those that must be sampled while the run lasts.
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
    """What a run's figures are worth."""

    VALID = "valid"
    SUSPECT = "suspect"
    """The generator may have coloured the figures; they are shown with the warning."""
    VOID = "void"
    """The figures describe the generator, not the trunk; none is shown."""


@dataclass(frozen=True)
class Threshold:
    """Above `suspect` a run is SUSPECT, above `void` VOID; the figures themselves still pass."""

    suspect: float
    void: float

    def judge(self, value: float) -> Verdict:
        """The verdict on one measured value; what is not a number is VOID."""
        if value <= self.suspect:
            return Verdict.VALID
        return Verdict.SUSPECT if value <= self.void else Verdict.VOID


@dataclass(frozen=True)
class Limits:
    """The thresholds, and why they are where they are."""

    lateness_p99_ms: Threshold = Threshold(20.0, 100.0)
    # One packet time: below it no figure of a call, all in tens of ms, can move. At 600 calls per minute calls are
    # 100 ms apart: later than that, calls change places and the arrivals are no longer the plan's.
    loop_lag_p99_ms: Threshold = Threshold(20.0, 100.0)
    # The loop reads responses too: its lag is added to every response delay that it measures.
    cpu_share: Threshold = Threshold(0.85, 0.95)
    # Of one core. A queue's mean wait at load .85 is about 6 service times, at .95 about 20: delays are then our own.
    media_lateness_p99_ms: Threshold = Threshold(10.0, 60.0)
    # Half a packet time is jitter that a receiver would blame on the network; 60 ms is the modelled jitter buffer:
    # beyond it a packet counts as lost, and we lost it.


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What was measured of the generator. Lists may be empty, where nothing was placed or sampled."""

    lateness_s: Seconds = ()
    """Of each action: real start minus planned instant."""
    loop_lag_s: Seconds = ()
    """Of each sample: how much later than asked the event loop woke."""
    cpu_share: float = 0.0
    """CPU time per wall time of one core, in the busiest window."""
    media_lateness_p99_ms: float = 0.0
    never_placed: int = 0
    """Calls whose instant passed without an attempt."""
    workers: int = 1
    """Processes that all this was measured of."""


@dataclass(frozen=True, kw_only=True)
class GeneratorVerdict:
    """The judgement with the figures it rests on."""

    verdict: Verdict
    lateness_p50_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float
    loop_lag_p99_ms: float
    cpu_share: float
    media_lateness_p99_ms: float
    never_placed: int = 0
    reasons: tuple[str, ...] = field(default=())
    """Empty for VALID; otherwise each threshold passed, in words."""
    workers: int = 1
    """Processes that placed the calls together."""


_SEVERITY = tuple(Verdict)


def judge(measured: Measurements, limits: Limits = Limits()) -> GeneratorVerdict:
    """The worst verdict of all thresholds; a call never placed is VOID whatever else was measured."""
    p50_ms, p99_ms, max_ms = _percentiles_ms(measured.lateness_s, 50, 99, 100)
    (lag_p99_ms,) = _percentiles_ms(measured.loop_lag_s, 99)
    checks = (
        ("calls started late, p99 in ms", p99_ms, limits.lateness_p99_ms),
        ("event loop lag, p99 in ms", lag_p99_ms, limits.loop_lag_p99_ms),
        ("CPU, share of one core", measured.cpu_share, limits.cpu_share),
        ("audio sent late, p99 in ms", measured.media_lateness_p99_ms, limits.media_lateness_p99_ms),
        ("calls never placed", measured.never_placed, Threshold(0, 0)),
    )
    found = [(threshold.judge(value), what, value, threshold) for what, value, threshold in checks]
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
    """VOID, whatever was measured, for reasons that no threshold knows; none changes nothing."""
    told = tuple(f"{Verdict.VOID}: {reason}" for reason in reasons)
    return replace(verdict, verdict=Verdict.VOID, reasons=verdict.reasons + told) if told else verdict


def worse(first: GeneratorVerdict, name: str, second: GeneratorVerdict | None) -> GeneratorVerdict:
    """The verdict on two processes of one generator: the figures of the first, the reasons of both, the worse word.

    `name` is what the reasons of the second are to be known by; `None` for it changes nothing.
    """
    if second is None:
        return first
    reasons = first.reasons + tuple(f"{name}: {reason}" for reason in second.reasons)
    return replace(first, verdict=max(first.verdict, second.verdict, key=_SEVERITY.index), reasons=reasons)


def _reason(verdict: Verdict, what: str, value: float, threshold: Threshold) -> str:
    limit = threshold.void if verdict is Verdict.VOID else threshold.suspect
    return f"{verdict}: {what}: {value:.4g}, more than {limit:g}"


def _percentiles_ms(values_s: Seconds, *percents: float) -> tuple[float, ...]:
    if not len(values_s):
        return (0.0,) * len(percents)
    return tuple(float(value) * 1000 for value in np.percentile(values_s, percents))


class HealthProbe:
    """Samples event loop and CPU while its `async with` block runs.

    `cpu_clock` is the whole process's by default. Where audio runs in threads of its own, without the interpreter's
    lock, give time.thread_time: it is the event loop's core that must not be full then.
    """

    INTERVAL_S = 0.02
    """As often as packets are sent."""
    WINDOW_S = 5.0
    """CPU is judged by its busiest window, so that a quiet rest of the run cannot hide it."""

    def __init__(self, cpu_clock: Callable[[], float] = time.process_time) -> None:
        self._cpu_clock = cpu_clock
        self._task: asyncio.Task[None] | None = None
        self._window_from = (0.0, 0.0)
        self._window_shares: list[float] = []
        self.loop_lag_s: list[float] = []

    def start(self) -> None:
        """Sample from now on."""
        self._window_from = (time.monotonic(), self._cpu_clock())
        self._task = asyncio.create_task(self._sample(), name="health probe")

    async def stop(self) -> None:
        """Sample no more."""
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
        """CPU time per wall time of one core in the busiest whole window, or in the whole run if that was shorter."""
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
