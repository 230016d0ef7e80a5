"""Dials a plan: every first attempt at its instant, and the redials of those whose attempt failed.

It connects the plan, the pacer and whoever places a call, and keeps the records. The redial rules are the study's; the
simulator has the same ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from loadgen.pacer import Instant, Pacer
from models.plan import Plan, PlanRow
from models.records import Disposition, Record

Place = Callable[[PlanRow, Record], Awaitable[None]]


class Dialler:
    """Dials the given first attempts and what follows from them; `place` carries one attempt to its end."""

    def __init__(self, plan: Plan, pacer: Pacer, place: Place) -> None:
        self._plan = plan
        self._pacer = pacer
        self._place = place
        self.records: list[Record] = []
        """Of every attempt begun, in the order in which they began."""

    def dial(self, rows: Iterable[PlanRow]) -> None:
        """Schedule first attempts at their instants."""
        for row in rows:
            if row.place_s is not None:
                self._schedule(row, row.place_s)

    def _schedule(self, row: PlanRow, intended_s: float) -> None:
        async def attempt(_: Instant) -> None:
            await self._attempt(row, intended_s)

        self._pacer.schedule(intended_s, attempt)

    async def _attempt(self, row: PlanRow, intended_s: float) -> None:
        record = Record(
            row=row.row,
            call=row.call,
            attempt=row.attempt,
            trunk=self._plan.study.trunks[row.trunk].name,
            direction=row.direction,
            disposition=Disposition.STILL_UP,
            intended_s=intended_s,
        )
        self.records.append(record)
        await self._place(row, record)
        self._redial(row, record)

    def _redial(self, row: PlanRow, record: Record) -> None:
        habits = self._plan.study.trunks[row.trunk].traffic.redial
        if record.disposition not in habits.after or row.next_row is None or record.ended_s is None:
            return
        following = self._plan.rows[row.next_row]
        delay_s = following.redial_delay_s or 0.0
        if habits.obeys_retry_after and record.retry_after_s is not None:
            delay_s = max(delay_s, record.retry_after_s)
        record.redialled = True
        self._schedule(following, record.ended_s + delay_s)
