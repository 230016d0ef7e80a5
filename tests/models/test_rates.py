"""Arrivals: each kind's expected count is exact, its instants lie where its rate is, and its spread is as asked."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import stats

from trunkproof.models.arrays import FloatArray
from trunkproof.models.rates import RatePath, arrival_chunks, rate_path
from trunkproof.models.traffic import Arrivals, PiecewiseArrivals, RatePoint

Z = 4.5
DIURNAL = {"kind": "diurnal", "hourly_per_minute": list(range(24)), "start_hour": 8.5}
STAGES = [
    {"for_s": 500, "calls_per_minute": 60},
    {"for_s": 1000, "ramp_from_per_minute": 60, "calls_per_minute": 120},
    # Of this ramp the study has the first half: 200 to 400 calls per minute.
    {"for_s": 1000, "ramp_from_per_minute": 200, "calls_per_minute": 600},
]
POINTS = [{"at_s": 0, "rate_per_minute": 60}, {"at_s": 1000, "rate_per_minute": 180}]


def settings(values: dict[str, object]) -> Arrivals:
    arrivals: Arrivals = TypeAdapter(Arrivals).validate_python(values)
    return arrivals


def instants(values: dict[str, object], duration_s: float, seed: int = 1) -> FloatArray:
    return np.concatenate(list(arrival_chunks(settings(values), duration_s, seed, 0, 10_000)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"kind": "constant", "rate_per_minute": 90}, 3000),
        ({"kind": "poisson", "rate_per_minute": 90}, 3000),
        ({"kind": "ramp", "from_per_minute": 0, "to_per_minute": 120}, 2000),
        ({"kind": "piecewise", "points": POINTS}, 1000 + 3000),
        ({"kind": "piecewise", "points": POINTS, "shape": "linear"}, 2000 + 3000),
        ({"kind": "stages", "stages": STAGES}, 500 + 1500 + 2500),
        ({"kind": "stages", "stages": STAGES[:2], "repeat": True}, 500 + 1500 + 500),
        ({"kind": "stages", "stages": STAGES[:2]}, 500 + 1500),
        (DIURNAL | {"seconds_per_hour": 600}, 10 * (8 * 0.5 + 9 + 10 + 11 * 0.8333333333333334)),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_expected_calls_are_the_area_under_the_rate(values: dict[str, object], expected: float) -> None:
    assert rate_path(settings(values), 2000, 1, 0).expected_calls == pytest.approx(expected, rel=1e-12)


def test_constant_arrivals_are_evenly_spaced_from_zero() -> None:
    assert instants({"kind": "constant", "rate_per_minute": 60}, 5).tolist() == pytest.approx([0, 1, 2, 3, 4])


def test_stages_are_the_arrivals_that_their_rates_say() -> None:
    steps = [{"for_s": 20, "calls_per_minute": 60}, {"for_s": 10, "calls_per_minute": 240}]
    points = [{"at_s": 0, "rate_per_minute": 60}, {"at_s": 20, "rate_per_minute": 240}]
    same = instants({"kind": "piecewise", "points": points}, 30)
    assert instants({"kind": "stages", "stages": steps}, 30).tolist() == same.tolist()
    even = instants({"kind": "stages", "stages": steps, "spacing": "constant"}, 60)
    assert even.tolist() == pytest.approx([*range(20), *(20 + number / 4 for number in range(40))])
    assert len(instants({"kind": "stages", "stages": steps, "spacing": "constant", "repeat": True}, 60)) == 120


def test_replayed_arrivals_are_exactly_the_given_ones_inside_the_run() -> None:
    assert instants({"kind": "replay", "instants_s": [3, 1, 99]}, 10).tolist() == [1, 3]


def test_inverse_undoes_the_cumulated_rate_through_silent_stretches() -> None:
    path = RatePath(np.array([0.0, 1, 2, 4]), np.array([0.0, 1, 2]), np.array([0.0, 2, 0]))
    assert path.expected_calls == pytest.approx(3.5)
    assert path.inverse(np.array([0.0, 0.5, 1.5])).tolist() == pytest.approx([1, 1 + math.sqrt(2) - 1, 2])
    assert path.inverse(np.array([3.499999999])).item() == pytest.approx(4, abs=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "poisson", "rate_per_minute": 300},
        {"kind": "ramp", "from_per_minute": 30, "to_per_minute": 300},
        {"kind": "piecewise", "points": POINTS, "shape": "linear"},
    ],
    ids=lambda values: str(values["kind"]),
)
def test_poisson_kinds_pass_through_their_own_clock_as_unit_exponentials(values: dict[str, object]) -> None:
    path = rate_path(settings(values), 2000, 1, 0)
    found = instants(values, 2000)
    clock = np.interp(found, *_dense(path))
    result = stats.kstest(np.diff(clock), "expon")
    assert result.pvalue > 1e-5


def _dense(path: RatePath) -> tuple[FloatArray, FloatArray]:
    times = np.linspace(path.knots_s[0], path.knots_s[-1], 200_001)
    rates = path.rate_per_minute(times) / 60
    steps = np.diff(times) * (rates[1:] + rates[:-1]) / 2
    return times, np.concatenate([[0.0], np.cumsum(steps)])


def test_bursts_spend_the_asked_share_of_time_bursting() -> None:
    values = {
        "kind": "bursts", "quiet_per_minute": 60, "burst_per_minute": 600, "mean_quiet_s": 30, "mean_burst_s": 10,
    }  # fmt: skip
    cycles, mean_rate = 2500, 195 / 60
    path = rate_path(settings(values), cycles * 40, 1, 0)
    # Share of time in one state of an alternating renewal process: variance 2 (m0 m1)² / ((m0 + m1)³ T).
    error = math.sqrt(2 * (30 * 10) ** 2 / (40**3 * cycles * 40)) * (600 - 60) / 60
    assert abs(path.expected_calls / (cycles * 40) - mean_rate) < Z * error


def test_busyness_makes_counts_vary_as_a_gamma_mixture_says() -> None:
    values = {"kind": "overdispersed", "rate_per_minute": 60, "busyness_cv": 0.3, "period_s": 60}
    periods = 4000
    counts = np.histogram(instants(values, periods * 60), bins=periods, range=(0, periods * 60))[0]
    variance = 60 + (0.3 * 60) ** 2
    assert abs(counts.mean() - 60) < Z * math.sqrt(variance / periods)
    # Standard error of a variance; the excess kurtosis of the mixture stays below 1.
    assert abs(counts.var() - variance) < Z * variance * math.sqrt(3 / periods)


def test_points_come_out_of_a_pickle_as_they_went_in() -> None:
    points = tuple(RatePoint(at_s=0.1 * number, rate_per_minute=number / 3) for number in range(1000))
    arrivals = PiecewiseArrivals(kind="piecewise", points=points, shape="linear")
    found = pickle.loads(pickle.dumps(arrivals))
    assert found == arrivals
    assert found.model_dump_json(exclude_unset=True) == arrivals.model_dump_json(exclude_unset=True)
    assert found.points[-1] == points[-1]
    # Nor are they sent one by one: 16 bytes of numbers a point, and what marks them as such.
    assert len(pickle.dumps(arrivals)) < 20 * len(points)
