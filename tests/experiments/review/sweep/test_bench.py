"""Spans under several throttles: what theory says, the same by either engine; what is spared would have come out the
same, number for number.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from tests.experiments.review.known_fit import known_fit

from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.request_file import parse_request
from trunkproof.experiments.review.sweep.bench import Batch, BatchResult, run_batch
from trunkproof.experiments.review.sweep.cells import study_with, with_limit
from trunkproof.experiments.review.sweep.quantities import SpanValues
from trunkproof.experiments.review.sweep.spans import Layout, from_rates
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.distributions import Exponential
from trunkproof.models.teletraffic import (
    call_congestion_standard_error,
    erlang_b,
    fixed_window_refused,
    fixed_window_standard_error,
    shaper_refused,
    sliding_admitted_refused,
    sliding_attempts_refused,
    token_bucket_refused,
)
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket
from trunkproof.models.traffic import Outcomes, Redial, Rejection
from trunkproof.simulator.run import Engine

SURE = float(stats.norm.cdf(4.5))
LIMIT = 200
THROTTLES: tuple[ThrottleSettings, ...] = (
    FixedWindow(),
    SlidingWindowAdmitted(),
    SlidingWindowAttempts(),
    TokenBucket(burst=10),
    TokenBucket(burst=20),
    Shaper(max_delay_s=2.0),
)
EXACT = (
    lambda rate: fixed_window_refused(rate, LIMIT),
    lambda rate: sliding_admitted_refused(rate, LIMIT),
    lambda rate: sliding_attempts_refused(rate, LIMIT),
    lambda rate: token_bucket_refused(rate, LIMIT, 10),
    lambda rate: token_bucket_refused(rate, LIMIT, 20),
    lambda rate: shaper_refused(rate, LIMIT, 2.0),
)
PRINTED = {
    170: (3.448e-4, 2.3318e-3, 0.013419, 8.1679e-3, 3.2955e-4),
    190: (0.010109168, 0.027968164, 0.243347, 0.0305956, 8.06865e-3),
    200: (0.028197728, 0.054352423, 0.509403, 0.0508475, 0.0252101),
    250: (0.200008, 0.213715, 0.999518, 0.202124, 0.200020),
}
"""Offered per minute -> shares refused by the first five, as computed to fifty digits."""
SPANS = 24


def request(more: str = "") -> Request:
    return parse_request(f"name: oracle\nhistory: calls.csv\nrequested_per_minute: 400\n{more}")


def batch(
    rates: list[float],
    *throttles: ThrottleSettings,
    fit: Fit | None = None,
    asked: Request | None = None,
    lead_s: float = 120.0,
    length_s: float = 3600.0,
    engine: Engine = Engine.KERNEL,
) -> Batch:
    """Spans of constant rates."""
    layout = Layout(len(rates), lead_s, length_s)
    steps = round((lead_s + length_s) / 60)
    arrivals = from_rates([np.full(steps, rate) for rate in rates], 60.0, layout)
    study = study_with(asked or request(), fit or known_fit(), arrivals, layout.duration_s, 5, throttles[0])
    return Batch(study, layout, throttles, engine)


def share(values: SpanValues, top: str = "refused", bottom: str = "attempts") -> tuple[float, float]:
    """Over all spans, and its standard error from how spans differ."""
    upper, lower = values[top], values[bottom]
    mean = float(upper.sum() / lower.sum())
    return mean, float(np.std(upper - mean * lower, ddof=1) / lower.mean() / math.sqrt(len(upper)))


@pytest.mark.parametrize("rate", list(PRINTED))
def test_throttles_at_a_constant_load_refuse_what_theory_says(rate: float) -> None:
    found = run_batch(batch([rate] * SPANS, *THROTTLES))
    for number, (values, exact) in enumerate(zip(found.values, EXACT, strict=True)):
        expected = exact(rate)
        if number < 5:
            assert expected == pytest.approx(PRINTED[int(rate)][number], rel=1e-4)
        refused, error = share(values)
        if number == 0:
            error = fixed_window_standard_error(rate, LIMIT, 60 * SPANS)
        assert abs(refused - expected) <= stats.t.ppf(SURE, SPANS - 1) * error
        if rate == 250:
            assert error < expected / 20  # or it would not be much of a test


@pytest.mark.parametrize("channels", [628, 640])
def test_channels_block_by_erlang_b(channels: int) -> None:
    """600 Erlang as 2000 calls a minute of 18 s: by insensitivity the same as 200 of 180 s, in a tenth of the time."""
    asked = request(f"pop: {{carrier: {{channels: {channels}}}, machine: {{cores: 64}}}}\n")
    fit = known_fit(holding=Exponential(kind="exponential", mean_s=17.9))
    (values,) = run_batch(batch([2000.0] * 4, NoThrottle(), fit=fit, asked=asked, length_s=1200.0)).values
    error = call_congestion_standard_error(600.0, channels, float(values["attempts"].sum()))
    assert abs(share(values, "no_channel")[0] - erlang_b(600.0, channels)) <= 4.5 * error
    assert values["peak_channels"].max() == channels
    # A call is answered after a tenth of a second of set-up.
    erlang = values["call_s"].sum() / (4 * 1200)
    assert erlang == pytest.approx(2000 / 60 * 17.9 * (1 - erlang_b(600.0, channels)), rel=0.02)


BUSY_FIT = known_fit(
    holding=Exponential(kind="exponential", mean_s=30.0),
    outcomes=Outcomes(busy=0.1, no_answer=0.1, abandoned=0.05, rejected=(Rejection(status=404, share=0.05),)),
    redial=Redial(probability=0.6),
)
ALONE = request("pop: {carrier: {channels: 22}}\n")
WITH_NEIGHBOUR = request("pop: {carrier: {channels: 22}}\nneighbours: [{name: small, per_minute: 20, mean_hold_s: 20}]")


def small(asked: Request, *throttles: ThrottleSettings, engine: Engine = Engine.KERNEL) -> Batch:
    return batch([60.0, 0.0, 40.0], *throttles, fit=BUSY_FIT, asked=asked, length_s=600.0, engine=engine)


def assert_same(left: SpanValues, right: SpanValues) -> None:
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)


@pytest.mark.parametrize("asked", [ALONE, WITH_NEIGHBOUR], ids=["alone", "with neighbour"])
def test_both_engines_give_the_same_numbers(asked: Request) -> None:
    throttles = (FixedWindow(limit=40), Shaper(limit=40), SlidingWindowAttempts(limit=45), TokenBucket(limit=500))
    found, expected = (run_batch(small(asked, *throttles, NoThrottle(), engine=engine)) for engine in Engine)
    assert (found.attempts, found.runs) == (expected.attempts, expected.runs)
    for one, other in zip(found.values, expected.values, strict=True):
        assert_same(one, other)
    assert found.values[0]["throttled"].sum() > 0
    assert found.values[0]["no_channel"].sum() > 0


@pytest.mark.parametrize("counts", ["both", "outbound"])
@pytest.mark.parametrize("stack", ["embedded", "asterisk"])
def test_a_throttle_without_effect_is_spared_and_its_run_would_have_been_the_same(counts: str, stack: str) -> None:
    asked = ALONE.model_copy(update={"pop": ALONE.pop.model_copy(update={"stack": stack})})
    far = [
        with_limit(interpretation.model_copy(update={"counts": counts}), 300)
        for interpretation in (FixedWindow(), SlidingWindowAdmitted(), TokenBucket())
    ]
    together = run_batch(small(asked, *far))
    assert together.runs == 1
    for throttle, spared in zip(far, together.values, strict=True):
        alone = _without_sparing(small(asked, throttle))
        assert alone.runs == 1
        assert_same(spared, alone.values[0])
    assert together.values[0]["no_channel"].sum() > 0
    assert together.values[0]["attempts"].sum() > together.values[0]["calls"].sum()


def _without_sparing(task: Batch) -> BatchResult:
    """An incident that changes nothing forbids sparing: a brown-out long after the last call."""
    incidents = request("pop: {incidents: [{kind: carrier_brown_out, at_s: 1.0e+6, lasts_s: 1}]}").pop.incidents
    pop = task.study.pop.model_copy(update={"incidents": incidents})
    return run_batch(dataclasses.replace(task, study=task.study.model_copy(update={"pop": pop})))


def test_a_throttle_that_refuses_or_delays_is_simulated_and_the_same_one_only_once() -> None:
    tight, shaper = FixedWindow(limit=50), Shaper(limit=100)
    result = run_batch(small(ALONE, tight, shaper, FixedWindow(limit=300), tight))
    assert result.runs == 3
    first, delayed, far, again = result.values
    assert first["throttled"][0] > 0
    assert far["throttled"].sum() == 0
    assert delayed["srd_p95_ms"][0] > far["srd_p95_ms"][0]
    assert_same(first, again)


def test_the_same_callers_come_whatever_the_throttle() -> None:
    low, high = run_batch(small(ALONE, FixedWindow(limit=40), FixedWindow(limit=300))).values
    assert low["calls"].tolist() == high["calls"].tolist()
    assert low["throttled"].sum() > high["throttled"].sum()
