"""Dial a plan: every first attempt at its instant, and the redials after attempts that failed.

The dialler connects the plan, the pacer and the party that places a call, and keeps the records. The redial rules are
those of the study. The simulator uses the same ones. So are the limits of each dialled number (`models.destinations`):
a call that would break one is left out, and has no record.

This is the one place where an error becomes the result of its call. A peer's error (`RemoteError`) is told in the
call's record. Any other error is a bug of ours: it is told there too, and noted with its traceback. In both cases the
other calls go on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from trunkproof.loadgen.bugs import describe, note_bug, noting_bugs
from trunkproof.loadgen.schedule.pacer import Instant, Pacer
from trunkproof.models.destinations import NumberLimits
from trunkproof.models.errors import RemoteError
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import Disposition, Record


class Attempt(Protocol):
    """One attempt, from its preparation to its end. It fills in its record."""

    def prepare(self) -> None:
        """Do what can be done before the instant. Called first, once."""

    def start(self) -> None:
        """Do what must not be late. Called at the instant."""

    async def finish(self) -> None:
        """Carry the attempt to its end."""

    def drop(self) -> None:
        """Release what was prepared, where the attempt is never started or has failed."""


Place = Callable[[PlanRow, Record], Attempt]


class Dialler:
    """Dials first attempts and their redials. `place` makes the attempt for a row and its record."""

    def __init__(
        self,
        plan: Plan,
        pacer: Pacer,
        place: Place,
        *,
        on_begin: Callable[[Record], None] = lambda record: None,
        on_end: Callable[[Record], None] = lambda record: None,
    ) -> None:
        """Make a dialler. `on_begin` is called for each attempt that begins, `on_end` for each one that is over."""
        self._plan = plan
        self._on_begin, self._on_end = on_begin, on_end
        self._pacer = pacer
        self._place = place
        self.records: list[Record] = []
        """The record of every attempt begun, in the order of their beginning."""
        self.numbers = NumberLimits(plan.destinations)
        """The limits of the dialled numbers."""
        self.failed_here = 0
        """How many attempts a bug of ours ended."""

    def dial(self, rows: Iterable[PlanRow]) -> None:
        """Schedule first attempts at their instants of plan time."""
        self._pacer.schedule_course((row.place_s, _Dialling(self, row)) for row in rows if row.place_s is not None)

    def attempt(self, row: PlanRow, intended_s: float) -> tuple[Record, Attempt]:
        """Return the record and the attempt of a row that is due at that instant."""
        record = Record(
            row=row.row,
            call=row.call,
            attempt=row.attempt,
            trunk=self._plan.study.trunks[row.trunk].name,
            direction=row.direction,
            disposition=Disposition.STILL_UP,
            intended_s=intended_s,
            destination=row.destination,
            far_end=None if row.destination is None else self._plan.far_end(row),
        )
        return record, self._place(row, record)

    def failed(self, record: Record, error: Exception) -> None:
        """Note in the record of an attempt that an error has ended it."""
        theirs = isinstance(error, RemoteError)
        # An answered call was carried by the trunk, so what failed is what the call was for: its audio.
        answered = theirs and record.answered_s is not None
        # An attempt that had its end already keeps it: each has exactly one disposition.
        if record.ended_s is None:
            record.disposition = Disposition.MEDIA_FAILED if answered else Disposition.CONNECTION_FAILED
            record.reason = str(error) if theirs else f"this machine: {describe(error)}"
            record.ended_s = self._pacer.now_s()
        if not theirs:
            self.failed_here += 1
            note_bug(f"call {record.call}, attempt {record.attempt}", error)

    def began(self, record: Record) -> None:
        """Note that an attempt begins."""
        # At its beginning and not at its end: a run that is cut short still has a row for every attempt begun.
        self.records.append(record)
        self._on_begin(record)

    def ended(self, row: PlanRow, record: Record) -> None:
        """Note that an attempt is over, and schedule its redial if there is one."""
        self._redial(row, record)
        # Last: whoever is told may write the record down, and whether the caller tries again is part of it.
        self._on_end(record)

    def _redial(self, row: PlanRow, record: Record) -> None:
        next_row = row.redial(record.disposition)
        # An attempt without an end was cut off, and nobody redials after that.
        if next_row is not None and record.ended_s is not None:
            following, redial = self._plan.rows[next_row], self._plan.study.trunks[row.trunk].traffic.redial
            # From the end of the attempt, not from now: the delay of this task must not move the redial.
            at_s = record.ended_s + redial.wait_s(following.redial_delay_s, record.retry_after_s)
            if self.numbers.again(row.trunk, row.destination, at_s):
                record.redialled = True
                self._pacer.schedule(at_s, _Dialling(self, following))
                return
        self.numbers.end(row.trunk, row.destination)


class _Dialling:
    """An attempt as the pacer's `Action`. Its record is made shortly before its instant: a plan may have a million."""

    __slots__ = ("_attempt", "_dialler", "_error", "_record", "_row")

    def __init__(self, dialler: Dialler, row: PlanRow) -> None:
        self._dialler, self._row = dialler, row
        self._error: Exception | None = None

    def prepare(self, due_s: float) -> None:
        self._record, self._attempt = self._dialler.attempt(self._row, due_s)
        # Kept until the instant: the record of a failed attempt belongs there.
        self._try(self._attempt.prepare)

    def start(self, instant: Instant) -> Coroutine[Any, Any, None]:
        # Asked at the instant, when it is known which calls have ended. A redial was asked for when it was scheduled.
        row = self._row
        if row.attempt == 0 and not self._dialler.numbers.begin(row.trunk, row.destination, instant.due_s):
            return self._left_out()
        self._dialler.began(self._record)
        # This part runs at once. A coroutine begins only in a later turn of the event loop.
        self._try(self._attempt.start)
        return self._finish()

    async def _left_out(self) -> None:
        self.drop()

    async def _finish(self) -> None:
        try:
            if self._error is None:
                await self._attempt.finish()
        except Exception as error:  # whatever it is, the other calls go on
            self._error = error
        if self._error is not None:
            self._dialler.failed(self._record, self._error)
            self.drop()
        self._dialler.ended(self._row, self._record)

    def drop(self) -> None:
        with noting_bugs(f"the release of call {self._row.call}, attempt {self._row.attempt}"):
            self._attempt.drop()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            if self._error is None:
                step()
        except Exception as error:  # an error that leaves this method ends the pacer, and with it every call
            self._error = error
