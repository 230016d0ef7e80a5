"""Who tries again: by reason and attempt, in one rule, and the same callers whatever happens to them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from trunkproof.models.draws import drawn_chunks
from trunkproof.models.errors import InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.redials import redial_masks, tries_again
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study
from trunkproof.models.traffic import Redial, RedialReasons

Z = 4.5
BY_REASON = {"throttled": [0.9, 0.6, 0.2], "carrier_rejected": 0.25, "busy": 0.4, "no_channel": 0.0}


def study(redial: dict[str, Any]) -> Study:
    traffic = {"arrivals": {"kind": "poisson", "rate_per_minute": 600}, "holding": 8, "redial": redial}
    return Study.model_validate({"name": "t", "duration_s": 600, "trunks": [{"traffic": traffic}]})


def test_every_failure_can_be_named_as_a_reason() -> None:
    failures = set(Disposition) - {Disposition.COMPLETED, Disposition.STILL_UP}
    assert set(RedialReasons.model_fields) == {kind.value for kind in failures}


def test_the_chance_is_that_of_the_reason_and_of_the_attempt() -> None:
    redial = Redial.model_validate({"probability": 0.5, "attempts": 6, "by_reason": BY_REASON})
    chances = [redial.chance(Disposition.THROTTLED, attempt) for attempt in range(6)]
    # The last one stays, up to the last attempt.
    assert chances == [0.9, 0.6, 0.2, 0.2, 0.2, 0.0]
    assert redial.chance(Disposition.BUSY, 0) == 0.4
    assert redial.chance(Disposition.NO_PORT, 0) == 0.5
    assert redial.chance(Disposition.NO_ANSWER, 0) == 0.0
    assert redial.chance(Disposition.NO_CHANNEL, 0) == 0.0
    assert redial.chance(Disposition.COMPLETED, 0) == 0.0
    assert redial.largest(Disposition.THROTTLED) == 0.9
    assert redial.is_possible
    assert not Redial().is_possible
    assert not Redial(probability=0.5, attempts=1).is_possible


def test_a_caller_who_tries_again_after_an_unlikely_reason_does_so_after_a_likelier_one() -> None:
    redial = Redial.model_validate({"attempts": 3, "by_reason": {"throttled": 0.8, "busy": 0.3}})
    masks = redial_masks(redial, 0, np.array([0.1, 0.5, 0.9])).tolist()
    assert [tries_again(mask, Disposition.THROTTLED) for mask in masks] == [True, True, False]
    assert [tries_again(mask, Disposition.BUSY) for mask in masks] == [True, False, False]
    assert not any(redial_masks(redial, 2, np.array([0.1, 0.5, 0.9])))


def test_rows_reach_as_far_as_the_likeliest_reason_and_no_further() -> None:
    redial = {"attempts": 4, "by_reason": BY_REASON}
    (arrays,) = drawn_chunks(study(redial), 0)
    made = np.bincount(arrays.attempt, minlength=4)
    for attempt, chance in enumerate((0.9, 0.6, 0.4)):
        share = made[attempt + 1] / made[attempt]
        assert abs(share - chance) < Z * math.sqrt(chance * (1 - chance) / made[attempt])
    busy = [tries_again(int(mask), Disposition.BUSY) for mask in arrays.redial_after[arrays.attempt == 0]]
    assert abs(np.mean(busy) - 0.4) < Z * math.sqrt(0.24 / made[0])
    (none,) = drawn_chunks(study({"by_reason": dict.fromkeys(BY_REASON, 0.0)}), 0)
    assert not none.attempt.any()


def test_a_reason_as_likely_as_the_others_changes_no_row() -> None:
    named = draw_plan(study({"probability": 0.6, "by_reason": {"throttled": 0.6}})).table
    assert named.equals(draw_plan(study({"probability": 0.6})).table)


def test_a_less_likely_reason_changes_no_row_but_after_what_it_follows() -> None:
    table = draw_plan(study({"probability": 0.6, "by_reason": {"throttled": 0.1}})).table
    plain = draw_plan(study({"probability": 0.6})).table
    assert table.drop("redial_after").equals(plain.drop("redial_after"))
    rows = list(draw_plan(study({"probability": 0.6, "by_reason": {"throttled": 0.1}})).rows.values())
    followed = [row for row in rows if row.redial(Disposition.NO_CHANNEL) is not None]
    impatient = [row for row in followed if row.redial(Disposition.THROTTLED) is not None]
    assert len(followed) == plain.filter(pl.col("next_row").is_not_null()).height
    # Of those whose number lies below 0.6, a sixth lies below 0.1.
    assert abs(len(impatient) / len(followed) - 1 / 6) < Z * math.sqrt(5 / 36 / len(followed))


def test_the_wait_is_the_callers_own_unless_he_obeys_the_refusal() -> None:
    assert Redial().wait_s(5.0, 70.0) == 70.0
    assert Redial().wait_s(5.0, None) == 5.0
    assert Redial(obeys_retry_after=False).wait_s(5.0, 70.0) == 5.0
    assert Redial().wait_s(None, None) == 0.0


def test_mistakes_are_named_where_they_are() -> None:
    text = """\
name: t
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: 10
  redial:
    by_reason:
      throtled: 0.5
      busy: [0.5, 1.5]
      no_answer: []
"""
    with pytest.raises(InputError) as caught:
        parse_study(text)
    first, second, third = map(str, caught.value.problems)
    assert "by_reason.throtled" in first
    assert "did you mean `throttled`?" in first
    assert "line 7" in first
    assert "by_reason.busy[1]" in second
    assert "by_reason.no_answer" in third
