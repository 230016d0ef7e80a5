"""Curves against bounds: with curves and loads that are chosen, so that every answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from experiments.review.busy import LoadDraws
from experiments.review.judging import GROWTH_GRID, Judge, held
from experiments.review.premises import Premises
from experiments.review.request import Neighbour
from experiments.review.result import Decision
from experiments.review.rollout import HOURS_WATCHED, false_alarm, rollout_of, steps_to
from experiments.targets import targets_of
from models.policies import FixedWindow
from models.study import Carrier, Pop, Quality
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.known_sweep import known_sweep
from tests.experiments.review.test_premises import HOLD, NO_SETUP, request

ASKED = request(
    readings=(FixedWindow(),), candidates=(300,), quality=Quality(), neighbours=(Neighbour(name="other", per_minute=5),)
)
SURE = LoadDraws(np.full((40, 3), 250.0), np.full(3, 1 / 3))


def beyond(_: int, limit: int, load: float) -> float:
    """A fluid throttle."""
    return max(0.0, 1 - limit / load)


def judge(loads: LoadDraws = SURE, anyway: float = 0.0, **others: float) -> Judge:
    return Judge(ASKED, known_sweep(ASKED, beyond, **({"refused_share of other": 0.02} | others)), loads, anyway)


def test_all_targets_of_the_request_are_judged() -> None:
    (reading,) = judge().readings()
    assert [target.kpi for target in reading.at(200).targets] == [kpi for kpi, _, _ in targets_of(Quality())]
    refused = reading.at(200).targets[0]
    assert (refused.bound, refused.is_upper, refused.holds) == (0.01, True, False)
    assert refused.value.value == pytest.approx(0.2)
    assert refused.confidence == 0.0
    assert reading.at(300).holds
    assert (reading.decision, reading.recommended_per_minute) == (Decision.APPROVE, 400)
    assert reading.largest_per_minute == 400
    assert not any(kpi.startswith("ends_") or " of " in kpi for kpi in reading.at(200).kpis)


def test_an_indicator_that_no_hour_has_is_no_target() -> None:
    (reading,) = judge(mos_p5=math.nan).readings()
    assert "mos_p5" not in {target.kpi for target in reading.at(400).targets}
    assert "mos_p5" not in reading.at(400).kpis
    assert reading.at(400).holds


def test_an_unsure_load_leaves_a_target_undecided() -> None:
    loads = LoadDraws(np.linspace(255, 285, 200)[:, None], np.ones(1))
    (reading,) = judge(loads).readings()
    share = reading.at(300).targets[0]
    # The curve leaves 0 at 250 a minute and is at 1/7 at 350: it passes 1 % between 255 and 285.
    assert 0.05 < share.confidence < 0.95
    assert share.holds is None
    assert share.value.low < 0.01 < share.value.high


def test_what_it_takes_to_hold() -> None:
    assert [held(chance, 0.9) for chance in (0.95, 0.9, 0.5, 0.05)] == [True, True, None, False]


def test_customers_whom_no_trunk_could_bring_through_are_not_lost_by_this_one() -> None:
    (reading,) = judge(anyway=0.05).readings()
    assert reading.at(200).kpis["customers_lost_share"].value == pytest.approx(0.15)
    assert reading.at(400).kpis["customers_lost_share"].value == 0.0
    assert reading.at(200).kpis["refused_share"].value == pytest.approx(0.2)


def test_growth_is_a_shift_of_the_load() -> None:
    (reading,) = judge().readings()
    lost = dict(zip(GROWTH_GRID, reading.refused_by_growth[200], strict=True))
    assert lost[1.0] == pytest.approx(0.2)
    assert lost[1.4] == pytest.approx(1 - 200 / 350)
    assert list(lost.values()) == sorted(lost.values())


def test_growth_beyond_what_was_simulated_is_the_formulas() -> None:
    asked = ASKED.model_copy(update={"pop": Pop(carrier=Carrier(channels=900, setup=NO_SETUP))})
    premises = Premises.of(asked, known_fit(holding=HOLD), 250.0)
    found = Judge(asked, known_sweep(asked, beyond), SURE, 0.0, premises)
    lost = dict(zip(GROWTH_GRID, found.readings()[0].refused_by_growth[400], strict=True))
    assert lost[1.4] == 0.0
    # 450 is the last node: from there on 500 a minute meet a throttle of 400 and 900 channels (300 a minute).
    assert lost[2.0] == pytest.approx(1 - 300 / 500, abs=0.02)


def test_callers_end_somewhere_and_neighbours_feel_it() -> None:
    found = judge()
    ends = found.endings(200)
    assert sum(ends.values()) == pytest.approx(1)
    assert ends["throttled"] == pytest.approx(0.2)
    now, requested = found.neighbours()["other"]
    assert (now.value, requested.value) == pytest.approx((0.02, 0.02))


def test_a_raise_goes_in_even_steps_that_were_simulated() -> None:
    assert steps_to(200, 400, (200, 250, 300, 350, 400, 450)) == [250, 350, 400]
    assert steps_to(200, 210, (200, 210, 400)) == [210]


def test_a_step_says_what_to_expect_and_when_to_halt() -> None:
    steps = rollout_of(judge(), 400, 0, busy_hours_a_week=2)
    assert [step.per_minute for step in steps] == [300, 400]
    assert steps[0].days == 21
    assert steps[0].bands["peak_concurrency"].value == pytest.approx(750)
    assert "in 2 of the first 5 busy hours at 300" in steps[0].halt
    assert rollout_of(judge(), None, 0, 5) == ()


def test_how_often_the_rule_halts_for_nothing() -> None:
    one = sum(
        math.comb(HOURS_WATCHED, k) * 0.025**k * 0.975 ** (HOURS_WATCHED - k) for k in range(2, HOURS_WATCHED + 1)
    )
    assert false_alarm() == pytest.approx(2 * one)
    assert false_alarm() < 0.013
