"""Dial a plan: every first attempt at its instant, and the redials after attempts that failed.

The dialler connects the plan, the pacer and the party that places a call, and keeps the records. The redial rules are
those of the study. The simulator uses the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from trunkproof.loadgen.schedule.pacer import Instant, Pacer
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
        """Release what was prepared, where the attempt is never started."""


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

    def dial(self, rows: Iterable[PlanRow]) -> None:
        """Schedule first attempts at their instants."""
        for row in rows:
            if row.place_s is not None:
                self._schedule(row, row.place_s)

    def _schedule(self, row: PlanRow, intended_s: float) -> None:
        self._pacer.schedule(intended_s, _Dialling(self, row, intended_s))

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
        )
        return record, self._place(row, record)

    def began(self, record: Record) -> None:
        """Note that an attempt begins."""
        # At its beginning and not at its end: a run that is cut short still has a row for every attempt begun.
        self.records.append(record)
        self._on_begin(record)

    def ended(self, row: PlanRow, record: Record) -> None:
        """Note that an attempt is over, and schedule its redial if there is one."""
        self._on_end(record)
        next_row = row.redial(record.disposition)
        # An attempt without an end was cut off, and nobody redials after that.
        if next_row is None or record.ended_s is None:
            return
        following, redial = self._plan.rows[next_row], self._plan.study.trunks[row.trunk].traffic.redial
        record.redialled = True
        # From the end of the attempt, not from now: the delay of this task must not move the redial.
        self._schedule(following, record.ended_s + redial.wait_s(following.redial_delay_s, record.retry_after_s))


class _Dialling:
    """An attempt as the pacer's `Action`. Its record is made shortly before its instant: a plan may have a million."""

    __slots__ = ("_attempt", "_dialler", "_intended_s", "_record", "_row")

    def __init__(self, dialler: Dialler, row: PlanRow, intended_s: float) -> None:
        self._dialler, self._row, self._intended_s = dialler, row, intended_s

    def prepare(self) -> None:
        self._record, self._attempt = self._dialler.attempt(self._row, self._intended_s)
        self._attempt.prepare()

    def start(self, instant: Instant) -> Coroutine[Any, Any, None]:
        self._dialler.began(self._record)
        # This part runs at once. A coroutine begins only in a later turn of the event loop.
        self._attempt.start()
        return self._finish()

    async def _finish(self) -> None:
        await self._attempt.finish()
        self._dialler.ended(self._row, self._record)

    def drop(self) -> None:
        self._attempt.drop()
