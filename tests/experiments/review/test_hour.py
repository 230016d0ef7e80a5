"""One simulated hour under several throttles: what is spared would have come out the same, number for number."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from experiments.review.cells import study_at, with_limit
from experiments.review.hour import Hour, HourResult, Values, run_hour
from experiments.review.reading import parse_request
from experiments.review.request import Request
from models.costs import PACKETS_PER_S, costs_of
from models.distributions import Exponential
from models.policies import FixedWindow, NoThrottle, Shaper, SlidingWindowAdmitted, ThrottleSettings, TokenBucket
from models.records import Disposition
from models.traffic import Outcomes, Redial, Rejection
from simulator.run import Engine
from tests.experiments.review.known_fit import known_fit

FIT = known_fit(
    60.0,
    holding=Exponential(kind="exponential", mean_s=30.0),
    period_cv=0.1,
    outcomes=Outcomes(busy=0.1, no_answer=0.1, abandoned=0.05, rejected=(Rejection(status=404, share=0.05),)),
    redial=Redial(probability=0.6),
)
ALONE = parse_request("history: calls.csv\nrequested_per_minute: 400\npop: {carrier: {channels: 33}}\n")
WITH_NEIGHBOUR = ALONE.model_copy(
    update={
        "neighbours": parse_request(
            "history: x\nrequested_per_minute: 400\nneighbours: [{name: small, per_minute: 20, mean_hold_s: 20}]\n"
        ).neighbours
    }
)


def task(request: Request, *throttles: ThrottleSettings, load: float = 60.0) -> Hour:
    study = study_at(request, FIT, FixedWindow(), 200, load, 5, hour_s=600.0)
    return Hour(study, throttles, 60.0)


def assert_same(left: Values, right: Values) -> None:
    assert left.keys() == right.keys()
    np.testing.assert_array_equal(list(left.values()), list(right.values()))


@pytest.mark.parametrize("counts", ["both", "outbound"])
@pytest.mark.parametrize("stack", ["embedded", "asterisk"])
def test_a_throttle_without_effect_is_spared_and_its_run_would_have_been_the_same(counts: str, stack: str) -> None:
    request = ALONE.model_copy(update={"pop": ALONE.pop.model_copy(update={"stack": stack})})
    far = [
        with_limit(reading.model_copy(update={"counts": counts}), 200)
        for reading in (FixedWindow(), SlidingWindowAdmitted(), TokenBucket())
    ]
    study = study_at(request, FIT, far[0], 200, 60.0, 5, hour_s=600.0)
    together = run_hour(Hour(study, tuple(far), 60.0))
    assert together.runs == 1
    for throttle, spared in zip(far, together.values, strict=True):
        # A shared throttle memory makes the hour's plan fall back on a run of its own.
        alone = _without_sparing(Hour(study, (throttle,), 60.0))
        assert alone.runs == 1
        assert_same(spared, alone.values[0])
    assert together.values[0]["no_channel_share"] > 0
    assert together.values[0]["attempts"] > together.values[0]["calls"]


def _without_sparing(task: Hour) -> HourResult:
    """An incident that changes nothing forbids sparing: a brown-out long after the last call."""
    text = (
        "history: x\nrequested_per_minute: 400\npop: {incidents: [{kind: carrier_brown_out, at_s: 1.0e+6, lasts_s: 1}]}"
    )
    incidents = parse_request(text).pop.incidents
    pop = task.study.pop.model_copy(update={"incidents": incidents})
    return run_hour(dataclasses.replace(task, study=task.study.model_copy(update={"pop": pop})))


def test_a_throttle_that_refuses_or_delays_is_simulated() -> None:
    tight, shaper = FixedWindow(limit=50), Shaper(limit=100)
    result = run_hour(task(ALONE, tight, shaper, FixedWindow(limit=200), tight))
    assert result.runs == 3
    first, delayed, far, again = result.values
    assert first["throttled_share"] > 0
    assert far["throttled_share"] == 0
    assert delayed["srd_p95_ms"] > far["srd_p95_ms"]
    assert_same(first, again)


def test_the_hours_callers_are_counted_whole_and_end_once() -> None:
    (values,) = run_hour(task(ALONE, FixedWindow(limit=50))).values
    ends = [values[f"ends_{kind.value}"] for kind in Disposition]
    assert sum(ends) == pytest.approx(1.0)
    assert values["customers_lost_share"] == pytest.approx(
        sum(values[f"ends_{kind}"] for kind in ("throttled", "no_channel", "no_port", "carrier_rejected"))
    )
    assert values["offered_per_minute"] == values["calls"] / 10
    assert values["refused_share"] == pytest.approx(
        values["throttled_share"] + values["no_channel_share"] + values["no_port_share"]
    )


def test_load_and_carried_calls_agree_with_littles_law() -> None:
    """600 s at one call a second, of which 70 % are answered for 30 s: the mean of exponential sums, with its error."""
    request = ALONE.model_copy(
        update={
            "pop": ALONE.pop.model_copy(
                update={
                    "carrier": parse_request(
                        "history: x\nrequested_per_minute: 400\npop: {carrier: {channels: 500}}"
                    ).pop.carrier
                }
            )
        }
    )
    (values,) = run_hour(task(request, NoThrottle())).values
    answered = values["calls"] * values["ends_completed"]
    assert values["erlang"] == pytest.approx(answered * 30 / 600, abs=4.5 * 30 * answered**0.5 / 600)
    # At least the audio at what a packet costs.
    assert values["cpu_share"] > values["erlang"] * PACKETS_PER_S * costs_of(request.pop).packet_s


def test_neighbours_are_counted_for_themselves_and_share_the_channels() -> None:
    (values,) = run_hour(task(WITH_NEIGHBOUR, FixedWindow(limit=200), load=120.0)).values
    (alone,) = run_hour(task(ALONE, FixedWindow(limit=200), load=120.0)).values
    assert values["refused_share of small"] > 0
    assert values["calls"] == alone["calls"]
    assert values["no_channel_share"] > alone["no_channel_share"]
    assert values["peak_ports"] > values["peak_concurrency"]  # of the whole PoP, and ringing calls have ports too


def test_the_same_callers_come_whatever_the_throttle() -> None:
    low, high = run_hour(task(ALONE, FixedWindow(limit=40), FixedWindow(limit=300))).values
    assert low["calls"] == high["calls"]
    assert low["refused_share"] > high["refused_share"]


@pytest.mark.parametrize("request_", [ALONE, WITH_NEIGHBOUR], ids=["alone", "with neighbour"])
def test_both_engines_give_the_same_numbers(request_: Request) -> None:
    throttles = (FixedWindow(limit=40), Shaper(limit=40), SlidingWindowAdmitted(limit=45), TokenBucket(limit=500))
    kernel = task(request_, *throttles, NoThrottle())
    assert kernel.engine is Engine.KERNEL
    found, expected = (run_hour(dataclasses.replace(kernel, engine=engine)) for engine in Engine)
    assert (found.attempts, found.runs) == (expected.attempts, expected.runs)
    for one, other in zip(found.values, expected.values, strict=True):
        assert_same(one, other)


def test_an_hour_whose_plan_is_too_long_to_keep_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = task(ALONE, FixedWindow(limit=40), FixedWindow(limit=500))
    kept = run_hour(asked)
    monkeypatch.setattr("experiments.review.hour._MOST_KEPT", 0)
    drawn_again = run_hour(asked)
    # Without the plan nothing can be shown to be without effect.
    assert (kept.runs, drawn_again.runs) == (2, 2)
    for one, other in zip(kept.values, drawn_again.values, strict=True):
        assert_same(one, other)
