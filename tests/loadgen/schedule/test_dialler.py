"""The dialler follows the plan's redials: the same rule as the simulator's, without a call being made."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.schedule.dialler import Dialler
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
