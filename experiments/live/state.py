"""Watch a run and say, once a second, what it looks like. An observer: the run knows nothing of it.

It counts what it is told, which costs microseconds an attempt. Whoever shows a snapshot gets it as a value: the
terminal draws it in a thread, and the page and Prometheus have a process of their own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trunkproof.experiments.live.bounds import Bounds
from trunkproof.experiments.live.snapshot import SRD_BOUNDS_S, ControlMark, Health, Meters, RunState, Snapshot
from trunkproof.loadgen.control import AppliedControl, ControlKind
from trunkproof.loadgen.meters.report import Sample
from trunkproof.loadgen.observer import Observer, RunProgress
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.faults import AudioFault
from trunkproof.models.records import REFUSED_BY_TRUNK, Disposition, Record
from trunkproof.models.study import Study

_EVERY_S = 1.0
_BOUNDS_EVERY_S = 5.0
"""Bounds need a table of the attempts, which costs more than counting."""
_RATE_S, _DELAY_S, _HEALTH_S = 10.0, 30.0, 10.0
_LATE = 0.01
"""From this share of late packets on, a call's audio is called late."""
_QUIET = {AudioFault.ONE_WAY, AudioFault.SILENT}
_UNANSWERED = {Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED}
_STATES = {
    ControlKind.PAUSE: RunState.PAUSED,
    ControlKind.DRAIN: RunState.DRAINING,
    ControlKind.STOP: RunState.STOPPING,
}


@dataclass(frozen=True)
class _Ended:
    at_s: float
    srd_s: float


class LiveState(Observer):
    """Counts a run, and tells a snapshot to each of `listeners` once a second and at each control."""

    def __init__(self, study: Study, listeners: Sequence[Callable[[Snapshot], None]] = ()) -> None:
        self._study, self._listeners = study.name, listeners
        self._bounds, self._fresh = Bounds(study), list[Record]()
        self._now_s = 0.0
        self._began_at: deque[float] = deque()
        self._delays: deque[_Ended] = deque()
        self._health: deque[tuple[float, Measurements]] = deque()
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._unanswered: Counter[str] = Counter()
        self._audio: Counter[str] = Counter()
        self._srd_counts = [0] * (len(SRD_BOUNDS_S) + 1)
        self._srd_sum_s = 0.0
        self._meters: dict[str, Meters] = {}
        self._controls: list[AppliedControl] = []
        self._progress: RunProgress | None = None
        self._standing: Snapshot = Snapshot(study=study.name)
        self._next_s = self._bounds_s = -1e9

    @property
    def snapshot(self) -> Snapshot:
        """Return the last snapshot."""
        return self._standing

    def attempt_began(self, record: Record) -> None:
        """Count it."""
        self._began_at.append(record.intended_s)
        self._counts["redials"] += record.attempt > 0

    def attempt_ended(self, record: Record) -> None:
        """Count what became of it."""
        self._fresh.append(record)
        if record.answered_s is not None:
            self._counts["answered"] += 1
            self._audio[_heard(record)] += 1
        if record.disposition in REFUSED_BY_TRUNK:
            self._refused[str(record.status or record.disposition.value)] += 1
        elif record.disposition in _UNANSWERED:
            self._unanswered[record.disposition.value] += 1
        elif record.disposition not in {Disposition.COMPLETED, Disposition.STILL_UP}:
            fault = record.audio_fault
            self._failed[fault.value if fault is not None else record.disposition.value] += 1
        if record.sent_s is not None and record.ringing_s is not None:
            delay_s = record.ringing_s - record.sent_s
            self._srd_counts[int(np.searchsorted(SRD_BOUNDS_S, delay_s))] += 1
            self._srd_sum_s += delay_s
            self._delays.append(_Ended(self._now_s, delay_s))

    def metered(self, samples: Sequence[Sample]) -> None:
        """Keep the last CPU and memory of each program."""
        for sample in samples:
            found = self._meters.get(sample.source, Meters())
            if sample.name == "cpu_s":
                self._meters[sample.source] = Meters(sample.value, found.memory_bytes)
            elif sample.name == "memory_bytes":
                self._meters[sample.source] = Meters(found.cpu_s, sample.value)

    def measured(self, health: Measurements) -> None:
        """Keep the health of the last seconds."""
        self._health.append((self._now_s, health))

    def controlled(self, applied: AppliedControl) -> None:
        """Keep the control."""
        self._controls.append(applied)
        self._next_s = self._bounds_s = self._now_s  # shown at once

    def progressed(self, progress: RunProgress) -> None:
        """Make a snapshot once a second."""
        self._progress, self._now_s = progress, progress.at_s
        if progress.at_s < self._next_s:
            return
        self._next_s = progress.at_s + _EVERY_S
        self._standing = self._look(progress)
        for listener in self._listeners:
            listener(self._standing)

    def _look(self, progress: RunProgress) -> Snapshot:
        now_s = progress.at_s
        while self._began_at and self._began_at[0] < now_s - _RATE_S:
            self._began_at.popleft()
        while self._delays and self._delays[0].at_s < now_s - _DELAY_S:
            self._delays.popleft()
        while self._health and self._health[0][0] < now_s - _HEALTH_S:
            self._health.popleft()
        bounds = self._standing.bounds
        if now_s >= self._bounds_s:
            self._bounds_s = now_s + _BOUNDS_EVERY_S
            bounds, self._fresh = self._bounds.judge(self._fresh, progress.under_way, now_s), []
        p50_ms, p95_ms = _percentiles_ms([each.srd_s for each in self._delays])
        since_s = min(_RATE_S, max(now_s, 1.0))
        return Snapshot(
            study=self._study,
            state=self._state(now_s),
            at_s=round(now_s, 2),
            share=max(0.0, progress.share),
            left_s=progress.left_s,
            asked_per_minute=progress.asked_per_minute,
            sent_per_minute=60 * len(self._began_at) / since_s,
            sent_per_minute_whole=60 * progress.begun / now_s if now_s > 1 else 0.0,
            begun=progress.begun,
            ended=progress.ended,
            answered=self._counts["answered"],
            redials=self._counts["redials"],
            refused=dict(self._refused),
            failed=dict(self._failed),
            unanswered=dict(self._unanswered),
            srd_p50_ms=p50_ms,
            srd_p95_ms=p95_ms,
            srd_counts=tuple(self._srd_counts),
            srd_sum_s=self._srd_sum_s,
            audio=dict(self._audio),
            health=self._judged(),
            bounds=bounds,
            controls=tuple(ControlMark(each.at_s, each.words) for each in self._controls),
            meters=dict(self._meters),
        )

    def _state(self, now_s: float) -> RunState:
        if now_s < 0:
            return RunState.WAITING
        return _STATES.get(self._controls[-1].kind, RunState.RUNNING) if self._controls else RunState.RUNNING

    def _judged(self) -> Health:
        parts = [each for _, each in self._health]
        if not parts:
            return self._standing.health
        found = judge(
            Measurements(
                lateness_s=np.concatenate([np.asarray(each.lateness_s, dtype=float) for each in parts]),
                loop_lag_s=np.concatenate([np.asarray(each.loop_lag_s, dtype=float) for each in parts]),
                cpu_share=max(each.cpu_share for each in parts),
                media_lateness_p99_ms=max(each.media_lateness_p99_ms for each in parts),
                never_placed=max(each.never_placed for each in parts),
            )
        )
        return Health(
            found.verdict.value,
            *(found.lateness_p99_ms, found.loop_lag_p99_ms, found.cpu_share, found.media_lateness_p99_ms),
            found.never_placed,
        )


def _heard(record: Record) -> str:
    if record.audio_fault in _QUIET:
        return "silent"
    if record.audio_fault is not None:
        return "faulty"
    return "late" if record.rtp_late > _LATE * max(1, record.rtp_received) else "good"


def _percentiles_ms(values_s: list[float]) -> tuple[float | None, float | None]:
    if not values_s:
        return None, None
    p50_s, p95_s = np.percentile(values_s, (50, 95)).tolist()
    return 1000 * p50_s, 1000 * p95_s
