"""Responses against bounds: with responses and demand that are chosen, so that every answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.known_sweep import Lost, demand_of, fluid, known_sweep
from tests.experiments.review.theory.test_premises import HOLD, NO_SETUP, request

from trunkproof.experiments.review.judging import GROWTH_GRID, Judge, held_with
from trunkproof.experiments.review.request import Neighbour
from trunkproof.experiments.review.sweep.quantities import Counted, NeighbourSum
from trunkproof.experiments.review.sweep.sweep import Witness
from trunkproof.experiments.review.theory.formulas import Busyness
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.models.study import Carrier, Pop, Quality
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted

LIMITS = (200, 300, 400)
ASKED = request(
    interpretations=(FixedWindow(),), quality=Quality(), neighbours=(Neighbour(name="other", per_minute=5),)
)
TWO = request(interpretations=(FixedWindow(), SlidingWindowAdmitted()), quality=Quality())
SURE = np.full(40, 250.0)
OTHER = {
    NeighbourSum(Counted.ATTEMPTS, "other"): 50.0,
    NeighbourSum(Counted.REFUSED, "other"): 1.0,
    NeighbourSum(Counted.BLOCKED, "other"): 0.0,
}


def judge(
    loads: np.ndarray = SURE, anyway: float = 0.0, model: Lost = fluid, record: Lost | None = None, **others: float
) -> Judge:
    demand = demand_of(loads)
    return Judge(ASKED, known_sweep(ASKED, demand, LIMITS, model, record, OTHER | others), (demand,), anyway)


def uniform(low: float, high: float, count: int = 200) -> np.ndarray:
    return low + (high - low) * (np.arange(count) + 0.5) / count


def test_all_targets_of_the_request_are_judged() -> None:
    point = judge().point(0, 200)
    assert [target.kpi for target in point.targets] == [target.kpi for target in Quality().targets]
    refused = point.targets[0]
    assert (refused.bound, refused.is_upper, refused.holds) == (0.01, True, False)
    assert refused.value.value == pytest.approx(0.2)
    assert refused.confidence == 0.0
    assert (point.holds, point.confidence) == (False, 0.0)
    good = judge().point(0, 300)
    assert (good.holds, good.confidence) == (True, 1.0)
    assert all(isinstance(kpi, str) for kpi in point.kpis)
    assert point.record == {}


def test_an_indicator_that_no_span_has_is_no_target() -> None:
    point = judge(mos_p5=math.nan).point(0, 400)
    assert "mos_p5" not in {target.kpi for target in point.targets}
    assert "mos_p5" not in point.kpis
    assert point.holds


def test_an_unsure_load_leaves_a_target_undecided_as_sure_as_it_is() -> None:
    # 1 % is refused where 303 a minute are offered, less at less: in two thirds of these.
    point = judge(uniform(283, 313), model=lambda interpretation, limit, load: 0.01 * load / 303).point(0, 300)
    share = point.targets[0]
    assert share.confidence == pytest.approx(2 / 3, abs=0.02)
    assert share.holds is None
    assert point.holds is None
    assert share.value.low < 0.01 < share.value.high


def test_targets_hold_together_or_not_at_all() -> None:
    """Each alone holds in most alternatives, in others than the next: what counts is in how many all do."""
    demand = demand_of(uniform(150, 350))

    def share(of: float) -> Lost:
        return lambda interpretation, limit, load: 0.02 if (load > of) else 0.0

    # The first interpretation fails above 300 a minute; the second does below 200, as a throttle never would.
    def both(interpretation: int, limit: int, load: float) -> float:
        return (
            share(300)(interpretation, limit, load)
            if interpretation == 0
            else 0.02 - share(200)(interpretation, limit, load)
        )

    found = Judge(TWO, known_sweep(TWO, demand, LIMITS, both), (demand,))
    first, second, joint = (found.together(interpretations, 300) for interpretations in ([0], [1], [0, 1]))
    # Alternatives in which the first fails and those in which the second does are not the same ones.
    assert joint == pytest.approx(first + second - 1)
    assert 0.3 < joint < min(first, second) < 1
    same = Judge(TWO, known_sweep(TWO, demand, LIMITS, share(300)), (demand,))
    assert same.together([0, 1], 300) == same.together([0], 300)


def test_the_worse_witness_counts() -> None:
    found = judge(record=lambda interpretation, limit, load: 0.03 if limit < 400 else 0.0)
    assert judge().holds([0], 300)
    assert found.holds([0], 300) is False
    assert found.holds([0], 400)
    point = found.point(0, 300)
    refused = next(target for target in point.targets if target.kpi == "refused_share")
    # The value that is told is that of the witness who is the least sure.
    assert refused.value.value == pytest.approx(0.03)
    assert point.kpis["refused_share"].value == 0
    assert point.record["refused_share"].value == pytest.approx(0.03)
    assert found.sweep.witnesses == (Witness.MODEL, Witness.RECORD)
    milder = judge(model=lambda interpretation, limit, load: 0.03, record=lambda interpretation, limit, load: 0.0)
    assert milder.holds([0], 300) is False


def test_of_two_courses_the_worse_counts_and_the_range_covers_both() -> None:
    steady, growing = demand_of(np.full(40, 250.0)), demand_of(np.full(40, 250.0)).grown(1.3)
    sweep = known_sweep(ASKED, steady, LIMITS, others=OTHER)
    both = Judge(ASKED, sweep, (steady, growing))
    assert Judge(ASKED, sweep, (steady,)).holds([0], 300)
    assert both.holds([0], 300) is False
    assert both.holds([0], 400)
    estimate = both.estimate(sweep.response(0, 300), "refused_share")
    # Told is the first course; up to 25 more in 325 are refused in the other.
    assert (estimate.value, estimate.low) == (0, 0)
    assert estimate.high == pytest.approx(1 - 300 / 325)
    assert both.demand is steady


@pytest.mark.parametrize(
    ("probability", "held"), [(0.95, True), (0.9, True), (0.5, None), (0.11, None), (0.09, False), (0.0, False)]
)
def test_what_it_takes_to_hold(probability: float, held: bool | None) -> None:
    assert held_with(probability, 0.9) is held


def test_nothing_is_known_to_fail_where_each_target_may_hold() -> None:
    found = judge(uniform(283.03, 313.03))
    assert found.holds([0], 300) is None
    assert found.holds([0], 200) is False
    assert found.holds([0], 400) is True


def test_customers_whom_no_trunk_could_bring_through_are_not_lost_by_this_one() -> None:
    point = judge(anyway=0.05).point(0, 200)
    assert point.kpis["customers_lost_share"].value == pytest.approx(0.15)
    assert point.kpis["refused_share"].value == pytest.approx(0.2)
    assert judge(anyway=0.05).point(0, 400).kpis["customers_lost_share"].value == 0.0


def test_growth_is_a_shift_of_the_load() -> None:
    lost = dict(zip(GROWTH_GRID, judge().by_growth([(0, 200)])[0, 200], strict=True))
    assert lost[1.0] == pytest.approx(0.2)
    assert lost[1.3] == pytest.approx(1 - 200 / 325)
    assert list(lost.values()) == sorted(lost.values())


def test_growth_beyond_what_was_simulated_is_the_formulas() -> None:
    asked = ASKED.model_copy(update={"pop": Pop(carrier=Carrier(channels=900, setup=NO_SETUP))})
    premises = Premises.of(asked, known_fit(holding=HOLD), 250.0, Busyness())
    demand = demand_of(SURE)
    found = Judge(asked, known_sweep(asked, demand, LIMITS), (demand,), 0.0, premises)
    lost = dict(zip(GROWTH_GRID, found.by_growth([(0, 400)])[0, 400], strict=True))
    assert lost[1.3] == 0.0
    # The last level is 500 a minute, and 1.1 times that is beyond: 400 pass, of which 900 channels carry 300.
    assert GROWTH_GRID[-1] == 2.0
    grown = asked.model_copy(update={"growth": 0.8})
    further = Judge(grown, found.sweep, (demand,), 0.0, premises)
    lost = dict(zip(GROWTH_GRID, further.by_growth([(0, 400)])[0, 400], strict=True))
    assert lost[2.0] == pytest.approx(1 - 300 / 625, abs=0.02)


def test_callers_end_somewhere_and_neighbours_feel_it() -> None:
    found = judge()
    ends = found.endings(0, 200)
    assert sum(ends.values()) == pytest.approx(1)
    assert ends["throttled"] == pytest.approx(0.2)
    assert set(ends) == {"completed", "throttled", "busy"}
    now, requested = found.neighbours(0)["other"]
    assert (now.value, requested.value) == pytest.approx((0.02, 0.02))
