"""The dialler follows the plan's redials: the same rule as the simulator's, without a call being made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from tests.loadgen.scripted import run_manually

from trunkproof.loadgen.bugs import Bug, collecting_bugs
from trunkproof.loadgen.schedule.dialler import Dialler
from trunkproof.loadgen.schedule.pacer import Instant, Pacer
from trunkproof.models.errors import RemoteError
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

    lasts_s = 3.0

    def __init__(self, record: Record, disposition: Disposition, notes: list[str]) -> None:
        self.record, self._disposition, self._notes = record, disposition, notes

    def prepare(self) -> None:
        self._notes.append("prepare")

    def start(self) -> None:
        self._notes.append("start")

    async def finish(self) -> None:
        await asyncio.sleep(self.lasts_s)
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

    def schedule_course(self, course: Iterable[tuple[float, object]]) -> None:
        for plan_s, action in course:
            self.schedule(plan_s, action)


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
        for number, action in enumerate(pacer.actions):  # which grows by the redial
            assert dialler.records == [] or dialler.records[0].redialled
            action.prepare(pacer.due_s[number])
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
    pacer.actions[0].prepare(0.0)
    pacer.actions[0].drop()
    assert notes == ["prepare", "drop"]
    assert dialler.records == []


def test_a_call_that_would_break_its_numbers_limit_is_left_out() -> None:
    """Three calls at once to a number that takes one: the second is left out, the third comes after the first."""
    notes, pacer = list[str](), ByHand()
    traffic = {
        "arrivals": {"kind": "replay", "instants_s": [0.0, 1.0, 5.0]},
        "holding": 1,
        "destinations": [{"number": "+918040005551", "far_end": "rejects", "at_once": 1}],
    }
    made = draw_plan(Study.model_validate({"name": "t", "duration_s": 10, "trunks": [{"traffic": traffic}]}))

    async def run() -> None:
        dialler = Dialler(
            made,
            pacer,  # type: ignore[arg-type]
            lambda row, record: Placing(record, Disposition.BUSY, notes),
        )
        dialler.dial(made.first_attempts())
        first, second, third = pacer.actions
        for action in (first, second):
            action.prepare(0.0)
        under_way = first.start(Instant(0.0, 0.0))
        await second.start(Instant(1.0, 1.0))
        await under_way
        third.prepare(5.0)
        await third.start(Instant(5.0, 5.0))
        assert [record.intended_s for record in dialler.records] == [0.0, 5.0]
        assert {(record.destination, record.far_end) for record in dialler.records} == {(0, "rejects")}
        assert dialler.numbers.not_placed == 1

    run_manually(run())
    assert notes == ["prepare", "prepare", "start", "drop", "finish", "prepare", "start", "finish"]


class Broken(Exception):  # noqa: N818
    """A bug of ours."""


class Short(Placing):
    """An attempt that is over soon."""

    lasts_s = 0.05


class Fails(Short):
    """An attempt in which a step raises an error."""

    def __init__(self, record: Record, notes: list[str], step: str, error: Exception, answered_s: float | None) -> None:
        super().__init__(record, Disposition.COMPLETED, notes)
        self._step, self._error, self._answered_s = step, error, answered_s

    def _perhaps(self, step: str) -> None:
        if step == self._step:
            self.record.answered_s = self._answered_s
            raise self._error

    def prepare(self) -> None:
        self._perhaps("prepare")

    def start(self) -> None:
        self._perhaps("start")

    async def finish(self) -> None:
        self._perhaps("finish")
        await super().finish()

    def drop(self) -> None:
        super().drop()
        self._perhaps("drop")


def dialled(step: str, error: Exception, answered_s: float | None = None) -> tuple[Dialler, list[str], tuple[Bug, ...]]:
    """Dial three calls with a real pacer. The second one fails in that step."""
    instants = {"kind": "replay", "instants_s": [0.0, 0.02, 0.04]}
    settings = {"name": "t", "duration_s": 10, "trunks": [{"traffic": {"arrivals": instants, "holding": 1}}]}
    made, notes = draw_plan(Study.model_validate(settings)), list[str]()

    def place(row: PlanRow, record: Record) -> Placing:
        if row.call == 1:
            return Fails(record, notes, step, error, answered_s)
        return Short(record, Disposition.COMPLETED, [])

    async def run() -> Dialler:
        # A real clock: the pacer sleeps between two instants.
        pacer = Pacer(asyncio.get_running_loop().time)
        dialler = Dialler(made, pacer, place, on_end=lambda record: notes.append(f"ended {record.call}"))
        dialler.dial(made.first_attempts())
        await pacer.run(asyncio.get_running_loop().time())
        return dialler

    with collecting_bugs() as bugs:
        return asyncio.run(run()), notes, bugs.found


@pytest.mark.parametrize("step", ["prepare", "start", "finish"])
def test_a_bug_in_one_call_is_told_in_its_record_and_the_others_go_on(step: str) -> None:
    dialler, notes, bugs = dialled(step, Broken("no suite"))
    assert [record.disposition for record in dialler.records] == ["completed", "connection_failed", "completed"]
    failed = dialler.records[1]
    assert failed.reason == "this machine: Broken: no suite"
    assert failed.ended_s is not None
    # What it held is released, and it counts as not placed: the generator's verdict is VOID then.
    assert (notes.count("drop"), dialler.failed_here) == (1, 1)
    assert sorted(note for note in notes if note.startswith("ended")) == ["ended 0", "ended 1", "ended 2"]
    (bug,) = bugs
    assert (bug.where, bug.error) == ("call 1, attempt 0", "Broken: no suite")
    assert bug.traceback.startswith("Traceback")


@pytest.mark.parametrize(
    ("answered_s", "disposition"), [(None, "connection_failed"), (0.5, "media_failed")], ids=["before", "after"]
)
def test_an_error_of_the_peer_is_a_result_of_its_call_and_no_bug(answered_s: float | None, disposition: str) -> None:
    dialler, _, bugs = dialled("finish", RemoteError("no audio may be sent to port 65535"), answered_s)
    failed = dialler.records[1]
    assert (failed.disposition, failed.reason) == (disposition, "no audio may be sent to port 65535")
    assert (dialler.failed_here, bugs) == (0, ())


def test_an_attempt_whose_release_fails_is_noted_and_keeps_its_end() -> None:
    dialler, _, bugs = dialled("drop", Broken("socket"))
    assert [record.disposition for record in dialler.records] == ["completed"] * 3
    assert bugs == ()  # a finished attempt is not dropped
