"""Which unknown moves the headroom, which of them changes the decision, and what to measure next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.theory.test_premises import HOLD, NO_SETUP, premises

from trunkproof.experiments.review.result import Swing
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.experiments.review.theory.tornado import MOST_HEADROOM, headroom, tornado
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.study import Carrier, Machine, Pop
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts


def unsure_fit() -> Fit:
    fit = known_fit(holding=HOLD, day_cv=0.1)
    return replace(
        fit,
        arrivals=replace(fit.arrivals, day_cv=Ranged(0.1, 0.05, 0.2)),
        holding=replace(fit.holding, mean_s=Ranged(180.0, 160.0, 200.0)),
    )


def swings_of(found: Premises, fit: Fit) -> dict[str, Swing]:
    swings, _ = tornado(found, fit, Ranged(found.demand_per_minute, 180.0, 240.0))
    widths = [abs(swing.headroom_high - swing.headroom_low) for swing in swings]
    assert widths == sorted(widths, reverse=True)
    return {swing.what: swing for swing in swings}


def test_headroom_is_the_growth_that_the_first_limit_bears() -> None:
    found = premises(demand=200.0)
    allowed = found.allowed(400)
    assert allowed is not None
    assert headroom(found) == pytest.approx(allowed / 200)
    grown = premises(demand=300.0, growth=1.5)
    assert headroom(grown) == pytest.approx(headroom(found))


def test_nothing_that_limits_leaves_the_most_headroom() -> None:
    endless = premises(
        demand=0.001, interpretations=(NoThrottle(),), pop=Pop(machine=Machine(cores=64)), bandwidth_mbit_per_s=None
    )
    assert headroom(endless) == MOST_HEADROOM


def test_every_doubt_has_its_bar_and_points_the_right_way() -> None:
    found = premises(demand=200.0, growth_cv=0.1, interpretations=(FixedWindow(), SlidingWindowAttempts()))
    swings = swings_of(found, unsure_fit())
    for what in ("growth", "busy-hour rate", "mean hold", "busyness of days", "redial probability"):
        assert swings[what].headroom_low >= swings[what].headroom_high
    assert swings["mean hold"].low == "160 s"
    assert (
        swings["interpretation of the throttle"].headroom_low <= swings["interpretation of the throttle"].headroom_high
    )
    assert "number of channels" not in swings


def test_an_unknown_number_of_channels_changes_the_decision_and_is_to_be_asked_for() -> None:
    pop = Pop(carrier=Carrier(setup=NO_SETUP), machine=Machine(cores=64, calibration="kamailio"))
    found = premises(demand=300.0, pop=pop, bandwidth_mbit_per_s=None)
    swings, measure_next = tornado(found, known_fit(holding=HOLD), Ranged(300.0, 300.0, 300.0))
    channels = next(swing for swing in swings if swing.what == "number of channels")
    assert channels.changes_decision
    assert "ask the carrier how many channels" in measure_next
    assert "changes the decision" in measure_next
