"""Planted answers get the scores that they deserve."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.experiments.verification.review.score import ALL, Tally, covers, score
from trunkproof.experiments.verification.review.tables import markdown, picture

NOW, ASKED = 20, 40


def result(decision: str, recommended: int | None, truth: dict[int, float], **more: Any) -> dict[str, Any]:
    """One interpretation; `truth`: limit -> share refused, known within 0.0002; the target is 1 %."""

    def holds(share: float, bound: float) -> bool | None:
        return None if abs(bound - share) < 0.0004 else share < bound

    cells = [
        {
            "interpretation": 0, "limit": limit, "refused": [share, 0.0002], "lost": [share / 2, 0.0001],
            "holds": holds(share, 0.01), "holds_at_half": holds(share, 0.005), "holds_at_double": holds(share, 0.02),
        }
        for limit, share in truth.items()
    ]  # fmt: skip
    claims = [
        {"interpretation": 0, "limit": limit, "holds": True, "refused": [0.0, 0.0, 0.003], "lost": [0.0, 0.0, 0.003]}
        for limit in truth
    ]
    answer = {"decision": decision, "recommended": recommended, "claims": claims}
    return {
        "kind": "plain", "seed": 1, "now": NOW, "requested": ASKED, "enforced_interpretation": 0, "is_stationary": True,
        "answer": answer, "truth": cells, "truth_of_busiest": cells,
        "spoken_for": NOW if decision == "not_needed" else recommended,
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("decision", "recommended", "is_bold"),
    [
        ("approve", 40, False),
        ("approve_lower", 30, True),
        ("approve_lower", 35, False),
        ("not_needed", None, True),
        ("refuse", None, False),
        ("cannot_tell", None, False),
    ],
)
def test_bold_is_who_speaks_for_a_throttle_that_does_not_do(
    decision: str, recommended: int | None, *, is_bold: bool
) -> None:
    """At 35 the truth is too close to the target to blame anybody."""
    scores = score([result(decision, recommended, {20: 0.05, 30: 0.02, 35: 0.0101, 40: 0.001})])["plain"]
    assert (scores.too_bold.hits, scores.too_bold.of) == (int(is_bold), 1)
    assert scores.too_bold_in_busiest == scores.too_bold


def test_a_quiet_day_that_was_judged_along_hides_nothing() -> None:
    planted = result("approve", 40, {20: 0.05, 40: 0.008})
    planted["truth_of_busiest"] = [{"interpretation": 0, "limit": 40, "holds": False}]
    scores = score([planted])["plain"]
    assert (scores.too_bold.hits, scores.too_bold_in_busiest.hits) == (0, 1)


def test_only_interpretations_that_stand_count_and_the_true_one() -> None:
    """The review rules out the second; that is bold only where the second is the true one."""
    planted = result("approve", 40, {20: 0.05, 40: 0.001})
    other = [{**cell, "interpretation": 1, "holds": False} for cell in planted["truth"]]
    planted["truth"] = [*planted["truth"], *other]
    bold = [score([planted | {"enforced_interpretation": true}])["plain"].too_bold.hits for true in (0, 1, None)]
    assert bold == [0, 1, 0]
    assert score([planted | {"enforced_interpretation": 1}])["plain"].truth_contradicted.hits == 1


def test_claims_and_intervals_are_held_against_the_truth() -> None:
    scores = score([result("approve", 40, {20: 0.05, 30: 0.0101, 35: 0.004, 40: 0.00001})])["plain"]
    assert (scores.claims_true.hits, scores.claims_true.of) == (2, 3)
    assert (scores.refused_covered.hits, scores.refused_covered.of) == (1, 4)
    assert (scores.refused_seen_covered.hits, scores.refused_seen_covered.of) == (0, 3)
    assert (scores.lost_covered.hits, scores.lost_covered.of) == (2, 4)


@pytest.mark.parametrize(
    ("truth", "is_stationary", "of"),
    [
        ({20: 0.05, 40: 0.001}, True, 1),
        ({20: 0.05, 40: 0.001}, False, 0),
        ({20: 0.015, 40: 0.001}, True, 0),
        ({20: 0.001, 40: 0.0}, True, 1),
        ({20: 0.09, 40: 0.03}, True, 1),
        ({20: 0.09, 40: 0.015}, True, 0),
    ],
)
def test_cannot_tell_is_needless_where_the_truth_is_clear(
    truth: dict[int, float], *, is_stationary: bool, of: int
) -> None:
    found = score([result("cannot_tell", None, truth, is_stationary=is_stationary)])["plain"].needless_cannot_tell
    assert (found.hits, found.of) == (of, of)


def test_a_refusal_where_a_raise_is_clearly_right_is_needless() -> None:
    found = score([result("refuse", None, {20: 0.05, 40: 0.001})])["plain"].needless_refusal
    assert (found.hits, found.of) == (1, 1)


def test_an_approval_beyond_a_quarter_above_what_is_enough_is_larger_than_needed() -> None:
    truth = {20: 0.05, 30: 0.001, 35: 0.0, 40: 0.0}
    found = [score([result("approve", limit, truth)])["plain"].larger_than_needed.hits for limit in (30, 35, 40)]
    assert found == [0, 0, 1]


def test_next_to_zero_contains_next_to_zero() -> None:
    assert covers((0.0, 0.0, 0.0), 5e-5, 1e-6)
    assert not covers((0.0, 0.0, 0.0), 5e-4, 1e-6)
    assert not covers((0.01, 0.008, 0.012), 5e-5, 1e-6)
    assert covers((0.01, 0.008, 0.012), 0.0122, 1e-4)


def test_a_review_that_raised_is_counted_apart() -> None:
    scores = score([result("approve", 40, {20: 0.05, 40: 0.0}), result("", None, {}, answer=None, kind="dirty")])
    assert (scores[ALL].errors, scores[ALL].histories, scores[ALL].too_bold.of) == (1, 2, 1)
    assert list(scores) == ["plain", "dirty", ALL]


def test_table_and_picture_have_a_row_for_each_kind() -> None:
    scores = score([result("approve_lower", 30, {20: 0.05, 30: 0.02, 40: 0.001})])
    text = markdown(scores, "python -m x")
    assert "| plain | 1 | 1 approve_lower | 100 % of 1 | 100 % of 1 |" in text
    assert "Too bold: plain 1." in text
    assert list(picture(scores).layout.yaxis.ticktext) == [ALL, "plain"]


def test_a_share_of_nothing_is_none() -> None:
    assert Tally().share is None
    assert Tally().interval == (0.0, 1.0)
    low, high = Tally(19, 20).interval
    assert low < 0.95 < high < 1
