"""Responses meet exact answers where there are some: weights by calls, what is between levels, noise counted once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from tests.experiments.review.known_sweep import demand_of, response_of

from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.sweep.quantities import Counted, Ending, NeighbourShare, NeighbourSum
from trunkproof.experiments.review.sweep.response import Response, Runs
from trunkproof.models.records import Disposition

LEVELS = np.array([0.5, 1.0, 1.5, 2.0])


def response(
    values: dict[str, np.ndarray], day: list[int], repetition: list[int] | None = None, levels: np.ndarray = LEVELS
) -> Response:
    runs = Runs(levels, np.array(day), np.array(repetition or [0] * len(day)), 3600.0)
    return Response(runs, values)


def two_days(weights: tuple[float, float] = (0.5, 0.5), draws: int = 5) -> Demand:
    """At level 1 in all alternatives."""
    return Demand(np.array([100.0, 300.0]), np.ones(2), np.ones((draws, 2)), np.tile(weights, (draws, 1)))


QUIET_AND_BUSY = {
    "attempts": np.outer(LEVELS, [100.0, 300.0]),
    "refused": np.outer(LEVELS, [0.0, 60.0]),
    "peak_concurrency": np.outer(LEVELS, [10.0, 30.0]),
}


def test_shares_are_weighted_by_calls_and_values_by_days() -> None:
    found = response(QUIET_AND_BUSY, [0, 1])
    # Not the mean of 0 and 0.2: three of four attempts are made on the busy day.
    assert found.estimate("refused_share", two_days()).value == pytest.approx(60 / 400)
    assert found.estimate("refused_share", two_days((0.75, 0.25))).value == pytest.approx(15 / (75 + 75))
    assert found.estimate("peak_concurrency", two_days()).value == pytest.approx(20)
    assert found.estimate("peak_concurrency", two_days((0.75, 0.25))).value == pytest.approx(15)
    assert found.estimate("attempts", two_days()).value == pytest.approx(200)


def test_a_day_that_is_simulated_twice_weighs_once() -> None:
    values = {name: seen[:, [0, 1, 1]] for name, seen in QUIET_AND_BUSY.items()}
    found = response(values, [0, 1, 1])
    assert found.estimate("refused_share", two_days()).value == pytest.approx(60 / 400)
    assert found.estimate("peak_concurrency", two_days()).value == pytest.approx(20)


def test_between_levels_a_response_is_smooth_and_never_leaves_what_the_levels_have() -> None:
    shares = np.array([[0.0], [0.0], [0.02], [0.2]])
    found = response({"attempts": np.full((4, 1), 1000.0), "refused": 1000 * shares}, [0])
    at = np.linspace(0.5, 2.0, 301)
    seen = found.mean_at("refused_share", Demand.constant(100.0), at)
    assert seen[np.searchsorted(at, [0.5, 1.0, 1.5, 2.0])] == pytest.approx(shares[:, 0], abs=1e-9)
    assert seen.min() >= 0
    assert (np.diff(seen) >= -1e-12).all()
    straight = response({"attempts": 1000 * LEVELS[:, None]}, [0])
    assert straight.mean_at("attempts", Demand.constant(1.0), np.array([0.7, 1.9])) == pytest.approx([700, 1900])


def test_beyond_its_levels_a_response_stays_as_it_is_there() -> None:
    found = response({"attempts": 1000 * LEVELS[:, None]}, [0])
    assert found.mean_at("attempts", Demand.constant(1.0), np.array([0.1, 9.0])) == pytest.approx([500, 2000])
    one = response({"attempts": np.array([[700.0]])}, [0], levels=np.ones(1))
    assert one.mean_at("attempts", Demand.constant(1.0), np.array([0.1, 9.0])) == pytest.approx([700, 700])


def test_each_alternative_has_its_own_level_and_weights() -> None:
    found = response(QUIET_AND_BUSY, [0, 1])
    relative, weights = np.array([[0.5, 1.0], [2.0, 1.0]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    demand = Demand(np.array([100.0, 300.0]), np.ones(2), relative, weights)
    assert found.draws("attempts", demand) == pytest.approx([(50 + 300) / 2, 200])
    assert found.draws("refused_share", demand) == pytest.approx([60 / 350, 0.0])
    estimate = found.estimate("attempts", demand)
    assert estimate.value == pytest.approx((175 + 200) / 2)
    assert 175 <= estimate.low < estimate.high <= 200


def test_a_span_without_an_indicator_is_left_out() -> None:
    values = QUIET_AND_BUSY | {"mos_p5": np.outer(np.ones(4), [np.nan, 4.2])}
    found = response(values, [0, 1])
    assert found.estimate("mos_p5", two_days()).value == pytest.approx(4.2)
    assert found.band("mos_p5", two_days()).value == pytest.approx(4.2)
    nothing = response({"mos_p5": np.full((4, 2), np.nan)}, [0, 1])
    assert math.isnan(nothing.estimate("mos_p5", two_days()).value)
    assert math.isnan(nothing.band("mos_p5", two_days()).high)
    assert len(nothing.days("mos_p5", two_days())) == 0
    nobody = response({"attempts": np.zeros((4, 2)), "refused": np.zeros((4, 2))}, [0, 1])
    assert math.isnan(nobody.estimate("refused_share", two_days()).value)


def test_the_mean_is_over_days_and_the_band_is_of_single_days() -> None:
    days = 40
    demand = Demand(np.full(days, 100.0), np.ones(days), np.ones((3, days)), np.full((3, days), 1 / days))
    found = response({"attempts": np.outer(LEVELS, np.arange(1.0, days + 1))}, list(range(days)))
    band = found.band("attempts", demand)
    assert band.value == pytest.approx(20.5, abs=0.6)
    assert (band.low, band.high) == pytest.approx((2.5, 38.5), abs=0.6)
    assert found.estimate("attempts", demand).value == pytest.approx(20.5)
    narrow = found.band("attempts", demand, 0.5)
    assert band.low < narrow.low < narrow.high < band.high


def noisy(repetitions: int, seed: int = 1) -> Response:
    """One day, whose repetitions have nothing but chance between them."""
    attempts = 1000 + 50 * np.random.default_rng(seed).standard_normal((1, repetitions))
    return response({"attempts": attempts}, [0] * repetitions, list(range(repetitions)), levels=np.ones(1))


CONSTANT = Demand(np.ones(1), np.ones(1), np.ones((999, 1)), np.ones((999, 1)))


def test_noise_of_repetitions_enters_once_and_by_students_t() -> None:
    """The truth of a mean of four: within its standard error, as Student's t has it. What lies between pairs is taken
    for the callers' own and comes on top where it is more than noise.
    """
    seen = np.array([[1000.0, 1100.0, 1040.0, 1060.0]])  # pairs have the same mean: all is noise
    found = response({"attempts": seen}, [0] * 4, list(range(4)), levels=np.ones(1))
    noise = ((100**2 + 20**2) / 2) / 2
    error = math.sqrt(noise / 4)
    estimate = found.estimate("attempts", CONSTANT)
    assert estimate.value == pytest.approx(1050)
    assert estimate.high - 1050 == pytest.approx(stats.t.ppf(0.975, 3) * error, rel=0.08)
    assert 1050 - estimate.low == pytest.approx(stats.t.ppf(0.975, 3) * error, rel=0.08)


def test_more_repetitions_make_it_narrower() -> None:
    def width(repetitions: int) -> float:
        found = [noisy(repetitions, seed).estimate("attempts", CONSTANT) for seed in range(20)]
        return float(np.mean([one.high - one.low for one in found]))

    # A quarter of the noise, and quantiles of t of fewer than 63 degrees of freedom are further out.
    assert width(4) > 4 * width(64)


def test_what_callers_differ_by_stays_in_full_however_many_there_are() -> None:
    callers = 100 * np.random.default_rng(1).standard_normal(200)
    seen = (1000 + np.repeat(callers, 2))[None]  # both of a pair are the same
    found = response({"attempts": seen}, [0] * 400, list(range(400)), levels=np.ones(1))
    estimate = found.estimate("attempts", CONSTANT)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * callers.std(ddof=1), rel=0.03)


def test_shares_stay_shares() -> None:
    seen = np.array([[990.0, 1000.0, 980.0, 1000.0]])
    found = response({"attempts": np.full((1, 4), 1000.0), "refused": seen}, [0] * 4, list(range(4)), levels=np.ones(1))
    assert found.estimate("refused_share", CONSTANT).high <= 1.0
    none = response({"attempts": np.full((1, 4), 9.0), "refused": 0 * seen}, [0] * 4, list(range(4)), levels=np.ones(1))
    estimate = none.estimate("refused_share", CONSTANT)
    assert (estimate.low, estimate.value, estimate.high) == (0, 0, 0)


def test_every_indicator_that_is_named_can_be_told() -> None:
    loads = np.array([100.0, 300.0])
    counts = {Counted.ATTEMPTS: 50.0, Counted.REFUSED: 10.0, Counted.BLOCKED: 5.0}
    others = {NeighbourSum(counted, "small"): count for counted, count in counts.items()}
    found = response_of(loads, lambda load: 0.1, others)
    demand = two_days()
    told = {name: found.estimate(name, demand).value for name in found.indicators}
    assert told["refused_share"] == pytest.approx(0.1)
    assert told["offered_per_minute"] == pytest.approx(200)
    assert told["erlang"] == pytest.approx(3 * 200)
    assert told["asr"] == pytest.approx(0.81)
    assert told[NeighbourShare(Counted.REFUSED, "small")] == pytest.approx(0.2)
    # Of those whom the throttle let pass: 40 in use, 5 more met full channels.
    assert told[NeighbourShare(Counted.BLOCKED, "small")] == pytest.approx(5 / 45)
    assert found.estimate(Ending(Disposition.THROTTLED), demand).value == pytest.approx(0.1)


def test_a_name_that_looks_like_a_share_is_none() -> None:
    """`cpu_share` counts cores: two cores in use are no mistake, whereas two of one caller are."""
    found = response_of(np.array([100.0]), lambda load: 0.1, {"cpu_share": 2.0, Ending(Disposition.BUSY): 1e9})
    demand = demand_of([100.0, 100.0], days=1)
    assert found.days("cpu_share", demand).max() == pytest.approx(2.0)
    assert found.days(Ending(Disposition.BUSY), demand).max() == 1.0


def test_growth_shifts_the_level() -> None:
    found = response_of(np.full(2, 100.0), lambda load: max(0.0, 1 - 120 / load))
    grown = found.mean_at("refused_share", demand_of([100.0, 100.0]), np.array([1.0, 1.6, 2.0]))
    assert grown == pytest.approx([0.0, 1 - 120 / 160, 1 - 120 / 200], abs=1e-9)
