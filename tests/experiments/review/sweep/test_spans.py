"""Where the calls of spans lie: after their lead-in, at their rate, and nowhere between."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trunkproof.experiments.review.sweep.spans import Layout, from_instants, from_rates, rescaled
from trunkproof.models.rates import arrival_chunks
from trunkproof.models.traffic import Arrivals, ReplayedArrivals

LAYOUT = Layout(3, 600.0, 1200.0)


def drawn(arrivals: Arrivals, seed: int = 1) -> np.ndarray:
    return np.concatenate(list(arrival_chunks(arrivals, LAYOUT.duration_s, seed, 0, 100_000)))


def by_span(instants: np.ndarray) -> list[np.ndarray]:
    return [
        instants[(instants >= begin) & (instants < begin + LAYOUT.pitch_s)] - begin
        for begin in np.arange(LAYOUT.count) * LAYOUT.pitch_s
    ]


def test_spans_follow_one_another_out_of_step_with_minutes() -> None:
    assert LAYOUT.counts_from_s.tolist() == [600.0 + number * LAYOUT.pitch_s for number in range(3)]
    assert LAYOUT.duration_s == 3 * LAYOUT.pitch_s
    assert LAYOUT.pitch_s > 1800
    assert LAYOUT.pitch_s % 60 != 0


def test_rates_are_those_of_each_step() -> None:
    rates = np.array([60.0, 60.0, 0.0, 120.0, 120.0, 30.0])  # of five minutes each
    paths = [rates, 2 * rates, 0 * rates]
    found = by_span(drawn(from_rates(paths, 300.0, LAYOUT)))
    for path, instants in zip(paths, found, strict=True):
        expected = 5 * path
        seen = np.histogram(instants, bins=np.arange(7) * 300.0)[0]
        assert (np.abs(seen - expected) <= 4.5 * np.sqrt(expected)).all()
        assert (instants < 1800).all()


def test_recorded_instants_come_back_where_they_were() -> None:
    instants = [np.array([0.0, 599.9, 600.0, 1799.0]), np.empty(0), np.array([700.5])]
    found = by_span(drawn(from_instants(instants, LAYOUT)))
    for expected, seen in zip(instants, found, strict=True):
        assert seen == pytest.approx(expected, abs=1e-6)


def test_spans_without_any_call_have_arrivals_that_disturb_no_period() -> None:
    arrivals = from_instants([np.empty(0)], LAYOUT)
    assert isinstance(arrivals, ReplayedArrivals)
    assert max(arrivals.instants_s) < 1


def test_a_lower_level_keeps_so_many_of_the_calls() -> None:
    own = np.sort(np.random.default_rng(1).uniform(0, 1800, 4000))
    kept = rescaled(own, [own + 1], 0.6, np.random.default_rng(2))
    assert len(kept) == pytest.approx(2400, abs=4.5 * math.sqrt(4000 * 0.6 * 0.4))
    assert np.isin(kept, own).all()
    assert (rescaled(own, [own + 1], 1.0, np.random.default_rng(2)) == own).all()


def test_a_higher_level_has_all_calls_and_some_of_other_days() -> None:
    random = np.random.default_rng(1)
    own = np.sort(random.uniform(0, 1800, 4000))
    others = [np.sort(random.uniform(0, 1800, 3000)) for _ in range(5)]
    grown = rescaled(own, others, 1.4, np.random.default_rng(2))
    assert len(grown) == pytest.approx(5600, abs=4.5 * math.sqrt(1600))
    assert np.isin(own, grown).all()
    assert np.isin(grown, np.concatenate([own, *others])).all()
    assert (np.diff(grown) >= 0).all()
    alone = rescaled(own, [], 1.4, np.random.default_rng(2))
    assert (alone == own).all()


def test_growth_beyond_what_other_days_have_takes_their_calls_more_than_once() -> None:
    random = np.random.default_rng(1)
    own, other = np.sort(3600 * random.random(1000)), np.sort(3600 * random.random(500))
    grown = rescaled(own, [other], 3.0, random)
    # Of the 500 others each comes four times.
    assert len(grown) == 3000
    assert (np.diff(grown) >= 0).all()
    assert len(np.unique(grown[grown > 0])) > 2900
