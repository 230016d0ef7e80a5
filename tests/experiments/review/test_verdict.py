"""The rules that make a decision of what holds where, and of what each throttle still protects."""

from __future__ import annotations

import pytest
from tests.experiments.review.theory.test_premises import request

from trunkproof.experiments.review.result import Decision
from trunkproof.experiments.review.verdict import Verdict, decide, with_headroom

ALL = dict.fromkeys((200, 230, 240, 255, 280, 290, 300, 310, 330, 400), True)
"""From 200 to 400 everything is protected."""
SEARCHED = request()
ASKED = request(grant="asked")
Answers = dict[int, bool | None]


@pytest.mark.parametrize(
    ("smallest", "recommended"),
    [(206, 230), (200, 220), (364, 400), (390, 400), (232, 260), (17, 19), (1, 2), (255, 290), (3000, 400)],
)
def test_headroom_is_rounded_up_to_what_people_say_and_never_above_what_is_asked(
    smallest: int, recommended: int
) -> None:
    assert with_headroom(smallest, SEARCHED) == recommended


def test_headroom_is_as_much_as_is_asked() -> None:
    assert with_headroom(200, request(headroom=0.0)) == 200
    assert with_headroom(200, request(headroom=0.5)) == 300


@pytest.mark.parametrize(
    ("holds", "verdict"),
    [
        # Enough at present, whatever else holds.
        ({200: True, 300: True, 400: True}, Verdict(Decision.NOT_NEEDED, 200, 200)),
        ({200: True, 300: None, 400: False}, Verdict(Decision.NOT_NEEDED, 200, 200)),
        # The smallest that holds, with headroom; what is asked for only where that is it.
        ({200: False, 280: True, 400: True}, Verdict(Decision.APPROVE_LOWER, 310, 280)),
        ({200: None, 206: True, 400: True}, Verdict(Decision.APPROVE_LOWER, 230, 206)),
        ({200: False, 280: True, 400: False}, Verdict(Decision.APPROVE_LOWER, 310, 280)),
        ({200: False, 300: False, 375: True, 400: True}, Verdict(Decision.APPROVE, 400, 375)),
        ({200: False, 300: False, 400: True}, Verdict(Decision.APPROVE, 400, 400)),
        # None holds: refused where all fail, open where some may.
        ({200: False, 300: False, 400: False}, Verdict(Decision.REFUSE, None, None)),
        ({200: None, 300: False, 400: False}, Verdict(Decision.REFUSE, None, None)),
        ({200: False, 300: False, 400: None}, Verdict(Decision.CANNOT_TELL, None, None)),
        ({200: False, 300: None, 400: False}, Verdict(Decision.CANNOT_TELL, None, None)),
        # What lies beyond what is asked for does not count, nor what is below the present one.
        ({200: False, 400: False, 500: True}, Verdict(Decision.REFUSE, None, None)),
        ({100: True, 200: False, 400: True}, Verdict(Decision.APPROVE, 400, 400)),
    ],
)
def test_the_smallest_throttle_that_holds_is_recommended_with_headroom(holds: Answers, verdict: Verdict) -> None:
    assert decide(holds, ALL, SEARCHED) == verdict


@pytest.mark.parametrize(
    ("protects", "verdict"),
    [
        # With headroom it harms others: then without.
        ({310: False, 280: True, 400: False}, Verdict(Decision.APPROVE_LOWER, 280, 280, unprotected=True)),
        ({310: None, 280: True, 400: False}, Verdict(Decision.APPROVE_LOWER, 280, 280, unprotected=True)),
        ({310: True, 280: True, 400: False}, Verdict(Decision.APPROVE_LOWER, 310, 280, unprotected=True)),
        ({310: True, 280: True, 400: None}, Verdict(Decision.APPROVE_LOWER, 310, 280)),
        # Neither protects, or it cannot be said of one of them.
        ({310: False, 280: False, 400: False}, Verdict(Decision.REFUSE, None, 280, unprotected=True)),
        ({310: False, 280: None, 400: False}, Verdict(Decision.CANNOT_TELL, None, 280, unprotected=True)),
    ],
)
def test_none_is_advised_that_does_not_protect(protects: Answers, verdict: Verdict) -> None:
    assert decide({200: False, 280: True, 400: True}, protects, SEARCHED) == verdict


def test_a_raise_that_is_not_needed_says_so_even_if_it_would_harm() -> None:
    holds: Answers = {200: True, 400: True}
    assert decide(holds, {200: True, 400: False}, SEARCHED) == Verdict(Decision.NOT_NEEDED, 200, 200, unprotected=True)


def test_what_is_asked_for_is_granted_where_the_request_wants_that() -> None:
    holds: Answers = {200: True, 280: True, 400: True}
    assert decide(holds, ALL, ASKED) == Verdict(Decision.APPROVE, 400, 200)
    # Not where it harms, nor where its own targets fail.
    assert decide(holds, {**ALL, 400: False}, ASKED).decision is Decision.NOT_NEEDED
    assert decide({200: False, 280: True, 400: False}, ALL, ASKED) == Verdict(Decision.APPROVE_LOWER, 310, 280)
