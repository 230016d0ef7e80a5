"""The review's own sweep answers cases whose exact answers are known, within its own error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
import pytest
from scipy import stats

from experiments.review.busy import BusyHour, LoadDraws
from experiments.review.cluster import executor_at
from experiments.review.curves import Curve
from experiments.review.reading import parse_request
from experiments.review.request import Request
from experiments.review.sweep import Sweep, nodes_for, sweep
from models.distributions import Exponential
from models.policies import (
    FixedWindow,
    NoThrottle,
    Shaper,
    SlidingWindowAdmitted,
    SlidingWindowAttempts,
    ThrottleSettings,
    TokenBucket,
)
from models.teletraffic import (
    erlang_b,
    fixed_window_refused,
    shaper_refused,
    sliding_admitted_refused,
    sliding_attempts_refused,
    token_bucket_refused,
)
from tests.experiments.review.known_fit import known_fit

LIMIT = 200
SHARE_OF_45 = float(stats.norm.cdf(4.5))
READINGS: tuple[ThrottleSettings, ...] = (
    FixedWindow(),
    SlidingWindowAdmitted(),
    SlidingWindowAttempts(),
    TokenBucket(burst=10),
    TokenBucket(burst=20),
    FixedWindow(window_s=10),
    Shaper(max_delay_s=2.0),
)
EXACT = (
    lambda rate: fixed_window_refused(rate, LIMIT),
    lambda rate: sliding_admitted_refused(rate, LIMIT),
    lambda rate: sliding_attempts_refused(rate, LIMIT),
    lambda rate: token_bucket_refused(rate, LIMIT, 10),
    lambda rate: token_bucket_refused(rate, LIMIT, 20),
    lambda rate: fixed_window_refused(rate / 6, 33),
    lambda rate: shaper_refused(rate, LIMIT, 2.0),
)
PRINTED = {
    (0, 190): 0.010109168,
    (0, 200): 0.028197728,
    (0, 250): 0.200008,
    (1, 190): 0.027968164,
    (1, 200): 0.054352423,
    (1, 250): 0.213715,
    (2, 190): 0.243347,
    (2, 200): 0.509403,
    (2, 250): 0.999518,
    (3, 190): 0.0305956,
    (3, 200): 0.0508475,
    (3, 250): 0.202124,
    (4, 190): 0.00806865,
    (4, 200): 0.0252101,
    (4, 250): 0.200020,
    (5, 180): 0.0344,
}
"""(reading, offered per minute) -> share refused, as computed to fifty digits."""


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with executor_at(workers=2) as pool:
        yield pool


def request(more: str = "") -> Request:
    return parse_request(f"name: oracle\nhistory: calls.csv\nrequested_per_minute: 400\n{more}")


@pytest.fixture(scope="module")
def throttled(executor: Executor) -> Sweep:
    """Constant Poisson loads around the limit; calls of a second, so that nothing else limits."""
    return sweep(
        request(),
        known_fit(),
        LoadDraws.constant(200.0),
        limits=[LIMIT],
        readings=READINGS,
        nodes=np.array([180.0, 190.0, 200.0, 250.0]),
        repetitions=8,
        most=8,
        hour_s=600.0,
        executor=executor,
    )


def reach(curve: Curve, rate: float) -> tuple[float, float]:
    """The estimate at a constant load, and how far it may be off at z = 4.5: by Student's t, with the same chance."""
    means = curve.means(LoadDraws.constant(rate))[0]
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    return float(means.mean()), float(stats.t.ppf(SHARE_OF_45, len(means) - 1)) * error


@pytest.mark.parametrize("rate", [180.0, 190.0, 200.0, 250.0])
@pytest.mark.parametrize("reading", range(len(READINGS)), ids=lambda index: READINGS[index].describe())
def test_a_throttle_at_a_constant_load_refuses_what_theory_says(throttled: Sweep, reading: int, rate: float) -> None:
    exact = EXACT[reading](rate)
    if (reading, rate) in PRINTED:
        assert exact == pytest.approx(PRINTED[reading, rate], rel=2e-3 if rate == 180 else 1e-5)
    estimate, off = reach(throttled.curve(reading, LIMIT, "refused_share"), rate)
    assert abs(estimate - exact) <= off
    if rate == 250:
        assert off < exact / 2  # or it would not be much of a test
    assert throttled.curve(reading, LIMIT, "throttled_share").at(np.array([rate]))[0] == pytest.approx(estimate)


def test_readings_have_the_same_callers(throttled: Sweep) -> None:
    calls = [throttled.curve(reading, LIMIT, "calls").seen for reading in range(len(READINGS))]
    for others in calls[1:]:
        np.testing.assert_array_equal(calls[0], others)


@pytest.mark.parametrize(("channels", "printed"), [(628, 0.0099), (659, 0.00094)])
def test_channels_block_by_erlang_b(executor: Executor, channels: int, printed: float) -> None:
    """600 Erlang as 2000 calls a minute of 18 s: by insensitivity the same as 200 of 180 s, in a tenth of the time."""
    swept = sweep(
        request(f"pop: {{carrier: {{channels: {channels}}}, machine: {{cores: 64}}}}\n"),
        known_fit(holding=Exponential(kind="exponential", mean_s=17.9)),
        LoadDraws.constant(2000.0),
        limits=[LIMIT],
        readings=[NoThrottle()],
        nodes=np.array([2000.0]),
        repetitions=6,
        most=6,
        hour_s=300.0,
        executor=executor,
    )
    exact = erlang_b(600.0, channels)
    assert exact == pytest.approx(printed, rel=0.06)
    estimate, off = reach(swept.curve(0, LIMIT, "no_channel_share"), 2000.0)
    assert abs(estimate - exact) <= off
    carried, carried_off = reach(swept.curve(0, LIMIT, "erlang"), 2000.0)
    assert abs(carried - 2000 / 60 * 17.9 * (1 - exact)) <= carried_off


@pytest.mark.parametrize(("cv", "printed"), [(0.1, 1.73e-3), (0.3, 4.32e-2)])
def test_days_that_differ_are_integrated_over(executor: Executor, cv: float, printed: float) -> None:
    """The share of all calls of all days, as the mean of gamma rates: days weighted by their calls."""
    loads = _gamma_loads(cv)
    nodes = nodes_for(loads, (1.0, 1.0))
    swept = sweep(
        request(),
        known_fit(),
        loads,
        limits=[LIMIT],
        readings=[FixedWindow()],
        nodes=nodes,
        repetitions=6,
        most=6,
        hour_s=600.0,
        executor=executor,
    )
    weighted = LoadDraws(loads.per_minute, loads.per_minute[0] / loads.per_minute[0].sum())
    means = swept.curve(0, LIMIT, "refused_share").means(weighted)[0]
    off = float(stats.t.ppf(SHARE_OF_45, 5)) * float(means.std(ddof=1)) / math.sqrt(6)
    # What curves through so few loads make of the exact response is known, too.
    exact_at = np.array([[fixed_window_refused(float(node), LIMIT) for node in nodes]] * 2)
    through = Curve.of(nodes, exact_at, np.tile(nodes, (2, 1))).means(weighted)[0, 0]
    exact = float(np.sum(weighted.weights * [fixed_window_refused(float(load), LIMIT) for load in loads.per_minute[0]]))
    assert exact == pytest.approx(printed, rel=0.02)
    assert abs(through - exact) < 0.1 * exact
    assert abs(means.mean() - exact) <= off + abs(through - exact)


def _gamma_loads(cv: float) -> LoadDraws:
    fit = known_fit(160.0, day_cv=cv, draws=1)
    return BusyHour.of(fit).loads(fit, 1.0, 0.0, np.random.default_rng(1), draws=1, quantiles=400)


def _small(executor: Executor | None, *, seed: int = 1, most: int = 4, bound: float = 0.01) -> Sweep:
    asked = request(f"seed: {seed}\nquality: {{refused_share_max: {bound}, customers_lost_share_max: null}}\n")
    fit = known_fit(200.0, rate_cv=0.01, day_cv=0.02, draws=40)
    loads = BusyHour.of(fit).loads(fit, 1.0, 0.0, np.random.default_rng(1), draws=40, quantiles=5)
    readings = [FixedWindow(), TokenBucket()]
    return sweep(asked, fit, loads, limits=[200, 400], readings=readings, most=most, hour_s=120, executor=executor)


def test_the_same_seed_gives_the_same_sweep_here_and_on_processes(executor: Executor) -> None:
    here, there = _small(None), _small(executor)
    assert repr(here.values) == repr(there.values)
    assert (here.runs, here.spared, here.simulated_attempts) == (there.runs, there.spared, there.simulated_attempts)
    assert repr(_small(executor, seed=2, most=2).values) != repr(here.values)


def test_repetitions_go_where_a_target_is_in_doubt() -> None:
    loads = LoadDraws.constant(200.0)
    doubtful = _small(None, most=3).curve(0, 200, "refused_share").estimate(loads).value
    swept = _small(None, most=8, bound=doubtful)
    counts = {limit: swept.repetitions(0, limit) for limit in swept.limits}
    assert counts[400] == 3  # refuses nothing: nothing to be in doubt about
    assert max(counts.values()) > 3


def test_throttles_far_above_all_loads_are_not_simulated_again() -> None:
    swept = _small(None, most=2)
    assert swept.spared > 0
    loads = LoadDraws.constant(200.0)
    for kpi in swept.indicators:
        first, other = (swept.curve(reading, 400, kpi).means(loads) for reading in (0, 1))
        np.testing.assert_array_equal(first, other)


def test_nodes_are_where_the_hours_are_and_a_little_beyond() -> None:
    loads = LoadDraws(np.random.default_rng(1).normal(200, 20, (400, 10)), np.full(10, 0.1))
    nodes = nodes_for(loads)
    assert (np.diff(nodes) >= 0.01 * nodes[:-1]).all()
    assert nodes[0] == pytest.approx(0.85 * nodes[1])
    assert nodes[-1] == pytest.approx(1.3 * nodes[-2])
    assert nodes[1] < 160
    assert nodes[-2] > 240
    assert nodes_for(LoadDraws.constant(0.0)).tolist() == [0.0]


def test_a_trunk_without_calls_is_no_crash() -> None:
    fit = known_fit(0.0)
    loads = BusyHour.of(fit).loads(fit, 1.0, 0.0, np.random.default_rng(1), draws=5, quantiles=3)
    swept = sweep(request(), fit, loads, limits=[200], hour_s=120.0)
    curve = swept.curve(0, 200, "refused_share")
    assert math.isnan(curve.probability(loads, 0.01, is_upper=True))
    assert swept.curve(0, 200, "peak_concurrency").estimate(loads).value == 0
