"""Keep a journal of a run, or of one worker: an observer that writes down what it is told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from trunkproof.loadgen.control import AppliedControl
from trunkproof.loadgen.journal.lines import EntryKind
from trunkproof.loadgen.journal.writer import Journal
from trunkproof.loadgen.meters.report import Sample
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.loadgen.verdict import Measurements
from trunkproof.models.records import Record, record_to_json

RUN, WORKERS = "run.jsonl", "worker-{}.jsonl"
"""The journal of the run's own process, and of the worker of that number, counted from 1."""
_DIGITS = 6
"""Instants are kept to the microsecond, which is finer than they can be measured."""


class JournalKeeper(Observer):
    """Writes what it is told into a journal. Call it from one thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @property
    def failure(self) -> OSError | None:
        """Return why the journal cannot be written, or None where it can."""
        return self._journal.failure

    def attempt_began(self, record: Record) -> None:
        """Write down what is known of the attempt."""
        self._journal.add(EntryKind.BEGAN, record_to_json(record))

    def attempt_ended(self, record: Record) -> None:
        """Write down the record."""
        self._journal.add(EntryKind.ENDED, record_to_json(record))

    def run_began(self, zero: float, anchors: Mapping[str, float]) -> None:
        """Write down plan zero, on the monotonic clock and on the wall's, and the anchors."""
        at = time.time() + zero - time.monotonic()
        self._journal.add(EntryKind.ZERO, {"zero": zero, "at": at, "anchors": dict(anchors)})

    def stack_event(self, event: StackEvent, at_s: float) -> None:
        """Write down the event."""
        self._journal.add(EntryKind.EVENT, {"at_s": at_s, "event": asdict(event)})

    def controlled(self, applied: AppliedControl) -> None:
        """Write down the control."""
        self._journal.add(EntryKind.CONTROL, applied.to_json())

    def metered(self, samples: Sequence[Sample]) -> None:
        """Write down the reading."""
        self._journal.add(EntryKind.METERS, [[round(each[0], _DIGITS), *each[1:]] for each in samples])

    def measured(self, health: Measurements) -> None:
        """Write down the measurements."""
        self._journal.add(EntryKind.HEALTH, health_to_json(health))

    def flush(self) -> None:
        """Give all that was told to the kernel, now."""
        self._journal.flush()

    def orphaned(self) -> None:
        """Write down that the run is gone."""
        self._journal.add(EntryKind.ORPHANED, None)

    def finished(self, result: Mapping[str, Any]) -> None:
        """Write down how the run ended, and what was measured beside tables."""
        self._journal.add(EntryKind.RESULT, dict(result))


@contextlib.contextmanager
def keeping_journal(
    path: Path, who: str, on_failure: Callable[[OSError], None] = lambda error: None
) -> Iterator[JournalKeeper]:
    """Keep a journal while the block runs.

    Raises:
        StorageError: it cannot be written.
    """
    journal = Journal(path, who, on_failure)
    try:
        yield JournalKeeper(journal)
    finally:
        journal.close()


def health_to_json(health: Measurements) -> dict[str, Any]:
    """Return all values, ready for `json.dumps`."""
    return {
        "lateness_s": [round(float(value), _DIGITS) for value in health.lateness_s],
        "loop_lag_s": [round(float(value), _DIGITS) for value in health.loop_lag_s],
        "cpu_share": health.cpu_share,
        "media_lateness_p99_ms": health.media_lateness_p99_ms,
        "never_placed": health.never_placed,
    }


def health_together(parts: Sequence[Mapping[str, Any]]) -> Measurements:
    """Return the measurements of one process from all its entries, in the order of writing."""
    if not parts:
        return Measurements()
    return Measurements(
        lateness_s=np.concatenate([np.asarray(part["lateness_s"], dtype=float) for part in parts]),
        loop_lag_s=np.concatenate([np.asarray(part["loop_lag_s"], dtype=float) for part in parts]),
        # Each entry has the worst of the whole time until then.
        cpu_share=parts[-1]["cpu_share"],
        media_lateness_p99_ms=parts[-1]["media_lateness_p99_ms"],
        never_placed=parts[-1]["never_placed"],
    )
