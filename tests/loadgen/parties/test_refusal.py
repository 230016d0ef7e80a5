"""A limit's refusal in SIP's words, which its caller reads back as the same disposition."""

from __future__ import annotations

import pytest
from tests.loadgen.stacks.conftest import study

from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.refusals import REFUSALS, FinalResponse, RefusalRules, disposition_of
from trunkproof.models.throttles.decision import Refused
from trunkproof.models.throttles.fixed_window import FixedWindow


@pytest.mark.parametrize("disposition", REFUSALS)
def test_each_limit_is_told_apart_by_its_cause(disposition: Disposition) -> None:
    refusal = Refusal.of(disposition)
    assert (refusal.status, *refusal.headers) == (refusal.status, ("Reason", f"Q.850;cause={refusal.cause}"))
    row = draw_plan(study()).rows[0]
    rules = RefusalRules.of(FixedWindow(refusal_status=refusal.status), ours=True)
    assert disposition_of(FinalResponse(refusal.status, refusal.cause), row, rules) is disposition


@pytest.mark.parametrize(("retry_after_s", "headers"), [(7, [("Retry-After", "7")]), (None, [])])
def test_a_throttle_says_its_own_status_and_when_to_come_back(
    retry_after_s: int | None, headers: list[tuple[str, str]]
) -> None:
    refusal = Refusal.by_throttle(Refused(480, retry_after_s))
    assert (refusal.disposition, refusal.status) == (Disposition.THROTTLED, 480)
    assert (refusal.status, list(refusal.headers)) == (480, [("Reason", "Q.850;cause=42"), *headers])


def test_only_the_carriers_refusals_have_words_of_their_own() -> None:
    phrases = {disposition: Refusal.of(disposition).phrase for disposition in REFUSALS}
    worded = {disposition for disposition, phrase in phrases.items() if phrase}
    assert worded == {Disposition.NO_CHANNEL, Disposition.CARRIER_REJECTED}


def test_denied_carries_its_denial() -> None:
    refusal = Refusal.of(Disposition.NO_PORT)
    with pytest.raises(CallRefused, match="no_port") as caught:
        raise CallRefused(refusal)
    assert caught.value.refusal is refusal
