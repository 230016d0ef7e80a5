"""Draws as arrays: what the plan's table holds, and nothing drawn for what does not happen."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.models.draws import OUTCOME_CODE, ROWS_PER_TRUNK, Outcome, PlanArrays, drawn_chunks
from trunkproof.models.plan import draw_plan, to_arrays, to_table
from trunkproof.models.study import Study


def study(**traffic: object) -> Study:
    settings: dict[str, object] = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 600},
        "holding": {"kind": "lognormal", "mean_s": 8, "cv": 2},
        "ringing": {"kind": "exponential", "mean_s": 3},
        "outcomes": {"busy": 0.1, "no_answer": 0.2, "abandoned": 0.1},
        "redial": {"probability": 0.6, "attempts": 4},
    }
    trunks = [
        {"name": name, "customer_address": f"127.0.0.{number}", "traffic": settings | traffic}
        for number, name in enumerate("ab", 2)
    ]
    return Study.model_validate({"name": "t", "trunks": trunks})


def assert_same(left: PlanArrays, right: PlanArrays) -> None:
    for name, values in vars(left).items():
        np.testing.assert_array_equal(values, getattr(right, name), err_msg=name)


@pytest.mark.parametrize("trunk", [0, 1])
def test_table_and_arrays_are_the_same_rows(trunk: int) -> None:
    question = study()
    (arrays,) = drawn_chunks(question, trunk)
    plan = draw_plan(question)
    assert_same(plan.arrays(trunk), arrays)
    assert_same(to_arrays(to_table(arrays), trunk), arrays)
    assert plan.arrays(trunk) is plan.arrays(trunk)


def test_rows_of_a_call_follow_one_another() -> None:
    (arrays,) = drawn_chunks(study(), 1)
    assert (arrays.row == ROWS_PER_TRUNK + np.arange(len(arrays))).all()
    follows = arrays.redial_after[:-1] > 0
    assert (arrays.call[1:][follows] == arrays.call[:-1][follows]).all()
    assert (arrays.attempt[1:] == np.where(follows, arrays.attempt[:-1] + 1, 0)).all()
    assert not arrays.redial_after[-1]
    assert (np.isnan(arrays.place_s) == (arrays.attempt > 0)).all()
    assert (np.isnan(arrays.redial_delay_s) == (arrays.attempt == 0)).all()


def test_a_constant_needs_no_draws_and_changes_none() -> None:
    (drawn,), (fixed,) = drawn_chunks(study(), 0), drawn_chunks(study(ringing=3), 0)
    np.testing.assert_array_equal(drawn.hold_s, fixed.hold_s)
    rings = np.isin(drawn.outcome, [OUTCOME_CODE[Outcome.ANSWERED], OUTCOME_CODE[Outcome.NO_ANSWER]])
    assert (fixed.ring_s[rings] == 3).all()
    np.testing.assert_array_equal(drawn.ring_s[~rings], fixed.ring_s[~rings])
