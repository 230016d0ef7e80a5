"""The dialler follows the plan's redials: the same rule as the simulator's, without a call being made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.loadgen.scripted import run_manually

from trunkproof.loadgen.schedule.dialler import Dialler
from trunkproof.loadgen.schedule.pacer import Instant
from trunkproof.models.plan import Plan, PlanRow, draw_plan
from trunkproof.models.records import Disposition, Record
from trunkproof.models.study import Study


class Noted:
    """Stands in for the pacer: keeps what is scheduled."""

    def __init__(self) -> None:
        self.due_s: list[float] = []

    def schedule(self, due_s: float, action: object) -> None:
        self.due_s.append(due_s)


def plan(redial: dict[str, Any]) -> Plan:
    traffic = {"arrivals": {"kind": "replay", "instants_s": [0.0]}, "holding": 1, "redial": redial}
    return draw_plan(Study.model_validate({"name": "t", "duration_s": 10, "trunks": [{"traffic": traffic}]}))


def ended(row: PlanRow, disposition: Disposition, retry_after_s: float | None = None) -> Record:
    return Record(
        row=row.row,
        call=row.call,
        attempt=row.attempt,
        trunk="t",
        direction=row.direction,
        disposition=disposition,
        intended_s=0.0,
        ended_s=3.0,
        retry_after_s=retry_after_s,
    )


@pytest.mark.parametrize(
    ("disposition", "retry_after_s", "due_s"),
    [
        (Disposition.THROTTLED, None, [5.0]),
        (Disposition.THROTTLED, 30.0, [33.0]),
        (Disposition.BUSY, None, [5.0]),
        (Disposition.NO_CHANNEL, None, []),
        (Disposition.COMPLETED, None, []),
    ],
)
def test_a_redial_follows_the_reasons_of_its_row(
    disposition: Disposition, retry_after_s: float | None, due_s: list[float]
) -> None:
    made = plan({"delay": 2, "attempts": 2, "by_reason": {"throttled": 1.0, "busy": 1.0}})
    (first,) = made.first_attempts()
    pacer = Noted()
    dialler = Dialler(made, pacer, lambda row, record: pytest.fail("nothing is placed here"))  # type: ignore[arg-type]
    record = ended(first, disposition, retry_after_s)
    dialler.ended(first, record)
    assert pacer.due_s == due_s
    assert record.redialled == bool(due_s)


class Placing:
    """An attempt that notes what is done to it, and ends as it was told to."""

    def __init__(self, record: Record, disposition: Disposition, notes: list[str]) -> None:
        self.record, self._disposition, self._notes = record, disposition, notes

    def prepare(self) -> None:
        self._notes.append("prepare")

    def start(self) -> None:
        self._notes.append("start")

    async def finish(self) -> None:
        await asyncio.sleep(3.0)
        self.record.disposition, self.record.ended_s = self._disposition, asyncio.get_running_loop().time()
        self._notes.append("finish")

    def drop(self) -> None:
        self._notes.append("drop")


class ByHand(Noted):
    """A pacer whose actions the test starts."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[Any] = []

    def schedule(self, due_s: float, action: object) -> None:
        super().schedule(due_s, action)
        self.actions.append(action)


def test_an_attempt_is_made_shortly_before_its_instant_and_told_when_it_begins_and_ends() -> None:
    made = plan({"delay": 2, "attempts": 2, "by_reason": {"busy": 1.0}})
    notes: list[str] = []
    pacer = ByHand()

    async def run() -> None:
        dialler = Dialler(
            made,
            pacer,  # type: ignore[arg-type]
            lambda row, record: Placing(record, Disposition.BUSY, notes),
            on_begin=lambda record: notes.append(f"began {record.attempt} {record.disposition}"),
            on_end=lambda record: notes.append(f"ended {record.attempt} {record.disposition}"),
        )
        dialler.dial(made.first_attempts())
        for action in pacer.actions:  # which grows by the redial
            assert dialler.records == [] or dialler.records[0].redialled
            action.prepare()
            await action.start(Instant(0.0, 0.0))
        assert [(record.intended_s, record.redialled) for record in dialler.records] == [(0.0, True), (5.0, False)]

    run_manually(run())
    assert pacer.due_s == [0.0, 5.0]
    assert notes == [
        *("prepare", "began 0 still_up", "start", "finish", "ended 0 busy"),
        *("prepare", "began 1 still_up", "start", "finish", "ended 1 busy"),
    ]


def test_an_attempt_that_is_dropped_has_no_record() -> None:
    made, notes, pacer = plan({}), list[str](), ByHand()
    dialler = Dialler(made, pacer, lambda row, record: Placing(record, Disposition.BUSY, notes))  # type: ignore[arg-type]
    dialler.dial(made.first_attempts())
    pacer.actions[0].prepare()
    pacer.actions[0].drop()
    assert notes == ["prepare", "drop"]
    assert dialler.records == []
