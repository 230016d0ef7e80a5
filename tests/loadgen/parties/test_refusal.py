"""A limit's refusal in SIP's words, which its caller reads back as the same disposition."""

from __future__ import annotations

import pytest
from tests.loadgen.stacks.conftest import study

from trunkproof.loadgen.parties.refusal import Denial, Denied
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.refusals import REFUSALS, disposition_of
from trunkproof.models.throttles.decision import Refused


@pytest.mark.parametrize("disposition", REFUSALS)
def test_each_limit_is_told_apart_by_its_cause(disposition: Disposition) -> None:
    denial = Denial.of(disposition)
    rejection = denial.rejection()
    assert (rejection.status, *rejection.headers) == (denial.status, ("Reason", f"Q.850;cause={denial.cause}"))
    row = draw_plan(study()).rows[0]
    assert disposition_of(denial.status, denial.cause, row, throttle_status=denial.status) is disposition


@pytest.mark.parametrize(("retry_after_s", "headers"), [(7, [("Retry-After", "7")]), (None, [])])
def test_a_throttle_says_its_own_status_and_when_to_come_back(
    retry_after_s: int | None, headers: list[tuple[str, str]]
) -> None:
    denial = Denial.by_throttle(Refused(480, retry_after_s))
    assert (denial.disposition, denial.status) == (Disposition.THROTTLED, 480)
    rejection = denial.rejection()
    assert (rejection.status, list(rejection.headers)) == (480, [("Reason", "Q.850;cause=42"), *headers])


def test_only_the_carriers_refusals_have_words_of_their_own() -> None:
    phrases = {disposition: Denial.of(disposition).rejection().phrase for disposition in REFUSALS}
    worded = {disposition for disposition, phrase in phrases.items() if phrase}
    assert worded == {Disposition.NO_CHANNEL, Disposition.CARRIER_REJECTED}


def test_denied_carries_its_denial() -> None:
    denial = Denial.of(Disposition.NO_PORT)
    with pytest.raises(Denied, match="no_port") as caught:
        raise Denied(denial)
    assert caught.value.denial is denial
