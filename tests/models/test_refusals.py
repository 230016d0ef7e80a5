"""Final responses are read by rule, by the limits' causes, by what the plan foresaw, and by status and cause."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.models.errors import InputError
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import NOT_DELIVERED, REFUSED_BY_TRUNK, Direction, Disposition
from trunkproof.models.refusals import (
    REFUSALS,
    THROTTLE_CAUSE,
    FinalResponse,
    RefusalRules,
    disposition_of,
    refusal_of,
)
from trunkproof.models.study_file import parse_study
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.refused_as import RefusedAs


def row(outcome: Outcome, status: int) -> PlanRow:
    return PlanRow(0, 0, 0, 0, Direction.OUTBOUND, 0.0, None, None, 0, outcome, status, 0.1, 1.0, 0.0, False)


ANSWERED = row(Outcome.ANSWERED, 200)
OURS = RefusalRules.of(FixedWindow(), ours=True)
THEIRS = RefusalRules.of(NoThrottle(), ours=False)


@pytest.mark.parametrize("disposition", list(REFUSALS))
def test_our_own_causes_lead_back_to_their_disposition(disposition: Disposition) -> None:
    assert disposition_of(FinalResponse(*REFUSALS[disposition]), ANSWERED, OURS) is disposition


def test_an_inbound_caller_who_meets_full_channels_hears_busy_and_an_outbound_one_does_not() -> None:
    full = Disposition.NO_CHANNEL
    assert [refusal_of(full, direction) for direction in Direction] == [(503, 34), (486, 34)]
    assert disposition_of(FinalResponse(486, 34), ANSWERED, OURS) is full
    others = set(REFUSALS) - {full}
    assert all(refusal_of(other, direction) == REFUSALS[other] for other in others for direction in Direction)


@pytest.mark.parametrize(
    ("status", "cause", "planned", "disposition"),
    [
        (503, THROTTLE_CAUSE, ANSWERED, Disposition.THROTTLED),
        (503, None, ANSWERED, Disposition.THROTTLED),
        (500, None, ANSWERED, Disposition.CARRIER_REJECTED),
        (403, 57, ANSWERED, Disposition.NOT_WHITELISTED),
        # Asterisk's answer to a source that it does not know.
        (401, None, ANSWERED, Disposition.NOT_WHITELISTED),
        (403, None, row(Outcome.REJECTED, 403), Disposition.CARRIER_REJECTED),
        (503, None, row(Outcome.REJECTED, 503), Disposition.CARRIER_REJECTED),
        (503, THROTTLE_CAUSE, row(Outcome.REJECTED, 503), Disposition.THROTTLED),
        (486, 17, row(Outcome.BUSY, 486), Disposition.BUSY),
        (480, None, row(Outcome.NO_ANSWER, 480), Disposition.NO_ANSWER),
        (487, None, row(Outcome.ABANDONED, 487), Disposition.ABANDONED),
    ],
)
def test_responses_of_our_own_trunks(
    status: int, cause: int | None, planned: PlanRow, disposition: Disposition
) -> None:
    assert disposition_of(FinalResponse(status, cause), planned, OURS) is disposition


@pytest.mark.parametrize(
    ("status", "cause", "retry_after_s", "disposition"),
    [
        (302, None, None, Disposition.REDIRECTED),
        (401, None, None, Disposition.UNAUTHORISED),
        (407, None, None, Disposition.UNAUTHORISED),
        # 57 in a 403 is our own trunk's habit. Elsewhere a wrong Exophone may send it too.
        (403, 57, None, Disposition.FORBIDDEN),
        (403, None, None, Disposition.FORBIDDEN),
        (404, 1, None, Disposition.NOT_FOUND),
        (484, 28, None, Disposition.NOT_FOUND),
        (488, 58, None, Disposition.NOT_ACCEPTABLE),
        (408, None, None, Disposition.TIMED_OUT),
        (429, None, None, Disposition.THROTTLED),
        (429, None, 5.0, Disposition.THROTTLED),
        (480, None, None, Disposition.NO_ANSWER),
        (480, 19, None, Disposition.NO_ANSWER),
        (480, 17, None, Disposition.BUSY),
        (480, 38, None, Disposition.CARRIER_REJECTED),
        (486, None, None, Disposition.BUSY),
        (500, 1, None, Disposition.NOT_FOUND),
        (503, None, None, Disposition.THROTTLED),
        (503, THROTTLE_CAUSE, 10.0, Disposition.THROTTLED),
        (503, 34, None, Disposition.NO_CHANNEL),
        # 47 is what our own trunk says of its ports. Elsewhere it may be any resource.
        (503, 47, None, Disposition.CARRIER_REJECTED),
        (503, 38, None, Disposition.CARRIER_REJECTED),
        (603, 21, None, Disposition.CARRIER_REJECTED),
    ],
)
def test_rfc3261_21_rfc3326_2_responses_of_a_trunk_that_is_not_ours(
    status: int, cause: int | None, retry_after_s: float | None, disposition: Disposition
) -> None:
    response = FinalResponse(status, cause, "", retry_after_s)
    assert disposition_of(response, ANSWERED, THEIRS) is disposition


def test_every_final_status_has_a_disposition() -> None:
    for status in range(300, 700):
        found = disposition_of(FinalResponse(status), ANSWERED, THEIRS)
        assert found in NOT_DELIVERED | {Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED}


def test_a_refusal_for_want_of_rights_is_the_trunks() -> None:
    assert {Disposition.UNAUTHORISED, Disposition.FORBIDDEN, Disposition.NOT_WHITELISTED} <= REFUSED_BY_TRUNK


def rules(*signs: dict[str, Any], ours: bool = False) -> RefusalRules:
    throttle = FixedWindow.model_validate({"policy": "fixed_window", "refused_as": signs})
    return RefusalRules.of(throttle, ours=ours)


@pytest.mark.parametrize(
    ("sign", "response", "matches"),
    [
        ({"status": 503, "cause": 34}, FinalResponse(503, 34), True),
        ({"status": 503, "cause": 34}, FinalResponse(503), False),
        ({"cause": "none"}, FinalResponse(480), True),
        ({"cause": "none"}, FinalResponse(480, 19), False),
        ({"reason_contains": "cps limit"}, FinalResponse(603, None, 'Declined; X;text="CPS Limit 5"'), True),
        ({"reason_contains": "cps limit"}, FinalResponse(603, None, "Declined"), False),
        ({"status": 480, "retry_after": True}, FinalResponse(480, None, "", 0.0), True),
        ({"status": 480, "retry_after": True}, FinalResponse(480), False),
        ({"status": 480, "retry_after": False}, FinalResponse(480), True),
    ],
)
def test_a_study_says_what_counts_as_throttled(sign: dict[str, Any], response: FinalResponse, matches: bool) -> None:
    assert RefusedAs.model_validate(sign).matches(response) is matches
    found = disposition_of(response, ANSWERED, rules(sign))
    assert (found is Disposition.THROTTLED) is matches


def test_a_rule_that_names_only_a_status_yields_to_what_the_plan_foresaw() -> None:
    planned = row(Outcome.REJECTED, 503)
    assert disposition_of(FinalResponse(503), planned, rules({"status": 503})) is Disposition.CARRIER_REJECTED
    worded = FinalResponse(503, None, "too many calls")
    assert disposition_of(worded, planned, rules({"reason_contains": "too many"})) is Disposition.THROTTLED


def test_a_study_may_count_nothing_as_throttled() -> None:
    assert disposition_of(FinalResponse(503, 42), ANSWERED, rules()) is Disposition.CARRIER_REJECTED


def test_what_is_counted_is_told_in_words() -> None:
    assert FixedWindow().describe_refusal_rules() == "503 with cause 42, 503 with no cause, 429"
    assert FixedWindow(refusal_status=480).describe_refusal_rules() == "480, 503 with no cause and Retry-After, 429"
    sign = RefusedAs(reason_contains="CPS", retry_after=False)
    assert str(sign) == 'any status with "CPS" in its reason and no Retry-After'
    assert FixedWindow(refused_as=()).describe_refusal_rules() == "nothing"


def test_mistakes_in_the_rules_are_named_where_they_are() -> None:
    text = """\
name: t
trunk:
  throttle:
    policy: fixed_window
    refused_as:
      - {status: 200}
      - {}
      - {cause: 300}
      - {reason: CPS}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: 10
"""
    with pytest.raises(InputError) as caught:
        parse_study(text)
    found = [(problem.where, problem.line) for problem in caught.value.problems]
    for number, line in enumerate((6, 7, 8, 9)):
        assert any(where.startswith(f"trunk.throttle.refused_as[{number}]") and at == line for where, at in found)
