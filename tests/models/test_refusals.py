"""Final responses are read by cause first, then by what the plan foresaw, then by status."""

from __future__ import annotations

import pytest

from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.refusals import REFUSALS, THROTTLE_CAUSE, disposition_of, refusal_of


def row(outcome: Outcome, status: int) -> PlanRow:
    return PlanRow(0, 0, 0, 0, Direction.OUTBOUND, 0.0, None, None, 0, outcome, status, 0.1, 1.0, 0.0, False)


ANSWERED = row(Outcome.ANSWERED, 200)


@pytest.mark.parametrize("disposition", list(REFUSALS))
def test_our_own_causes_lead_back_to_their_disposition(disposition: Disposition) -> None:
    status, cause = REFUSALS[disposition]
    assert disposition_of(status, cause, ANSWERED, throttle_status=503) is disposition


def test_an_inbound_caller_who_meets_full_channels_hears_busy_and_an_outbound_one_does_not() -> None:
    full = Disposition.NO_CHANNEL
    assert [refusal_of(full, direction) for direction in Direction] == [(503, 34), (486, 34)]
    assert disposition_of(486, 34, ANSWERED, throttle_status=503) is full
    others = set(REFUSALS) - {full}
    assert all(refusal_of(other, direction) == REFUSALS[other] for other in others for direction in Direction)


@pytest.mark.parametrize(
    ("status", "cause", "planned", "disposition"),
    [
        (503, THROTTLE_CAUSE, ANSWERED, Disposition.THROTTLED),
        (503, None, ANSWERED, Disposition.THROTTLED),
        (500, None, ANSWERED, Disposition.CARRIER_REJECTED),
        (403, None, ANSWERED, Disposition.NOT_WHITELISTED),
        (403, None, row(Outcome.REJECTED, 403), Disposition.CARRIER_REJECTED),
        (503, None, row(Outcome.REJECTED, 503), Disposition.CARRIER_REJECTED),
        (486, 17, row(Outcome.BUSY, 486), Disposition.BUSY),
        (486, None, ANSWERED, Disposition.BUSY),
        (480, None, row(Outcome.NO_ANSWER, 480), Disposition.NO_ANSWER),
        (487, None, row(Outcome.ABANDONED, 487), Disposition.ABANDONED),
        (408, None, ANSWERED, Disposition.TIMED_OUT),
    ],
)
def test_foreign_responses(status: int, cause: int | None, planned: PlanRow, disposition: Disposition) -> None:
    assert disposition_of(status, cause, planned, throttle_status=503) is disposition
