"""A raise step by step, with bands of single periods and a rule whose false alarms are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.experiments.review.known_sweep import demand_of, known_sweep
from tests.experiments.review.theory.test_premises import request

from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.words.rollout import HOURS_WATCHED, false_alarm, rollout_of, steps_to
from trunkproof.models.study import Quality
from trunkproof.models.throttles.fixed_window import FixedWindow


def judge() -> Judge:
    asked = request(interpretations=(FixedWindow(),), quality=Quality())
    demand = demand_of(np.full(40, 250.0))
    return Judge(asked, known_sweep(asked, demand, (200, 300, 400)), (demand,))


def test_a_raise_goes_in_even_steps_that_were_simulated() -> None:
    assert steps_to(200, 400, (200, 250, 300, 350, 400, 450)) == [250, 350, 400]
    assert steps_to(200, 210, (200, 210, 400)) == [210]


def test_a_step_says_what_to_expect_and_when_to_halt() -> None:
    steps = rollout_of(judge(), 400, 0, busy_hours_a_week=2)
    assert [step.per_minute for step in steps] == [300, 400]
    assert steps[0].days == 21
    assert steps[0].bands["peak_concurrency"].value == pytest.approx(750)
    assert "in 2 of the first 5 busy hours at 300" in steps[0].halt
    # Nothing is refused there; a band that ended at none would halt at the first caller.
    assert steps[0].bands["refused_share"].value == 0
    assert steps[0].bands["refused_share"].high == pytest.approx(0.001)
    assert rollout_of(judge(), None, 0, 5) == ()


def test_how_often_the_rule_halts_for_nothing() -> None:
    one = sum(
        math.comb(HOURS_WATCHED, k) * 0.025**k * 0.975 ** (HOURS_WATCHED - k) for k in range(2, HOURS_WATCHED + 1)
    )
    assert false_alarm() == pytest.approx(2 * one)
    assert false_alarm() < 0.013
