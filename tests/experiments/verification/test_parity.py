"""The cases ask what their formulas answer, each with a seed of its own; and a wrong formula is found."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from trunkproof.experiments.prediction.twin import exact_refused_share
from trunkproof.experiments.verification.cases import Case, loss_cases, throttle_cases
from trunkproof.experiments.verification.check import Point
from trunkproof.experiments.verification.parity import measure, parity_check
from trunkproof.experiments.verification.redials import exact
from trunkproof.models.teletraffic import erlang_b

CASES = [*loss_cases(100), *throttle_cases(100)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_twin_finds_the_same_answer_by_way_of_the_study(case: Case) -> None:
    assert exact_refused_share(case.study) == pytest.approx(case.exact, rel=1e-12)


def test_no_two_cases_share_a_seed() -> None:
    seeds = [case.study.seed for case in CASES]
    assert len(set(seeds)) == len(seeds)


def test_cases_are_counted_for_as_long_as_asked() -> None:
    for case in CASES:
        (trunk,) = case.study.trunks
        counted_s = case.study.duration_s - trunk.throttle.memory_s
        arrivals = trunk.traffic.arrivals
        assert arrivals.kind == "poisson"
        assert counted_s * arrivals.rate_per_minute / 60 == pytest.approx(100)


@pytest.fixture(scope="module")
def measured() -> Point:
    return measure((loss_cases(1000)[0], 16))


def test_the_right_formula_is_correct(measured: Point) -> None:
    check = parity_check("a", "A", [measured], "blocking")
    assert check.is_correct
    assert check.line.startswith("All 1 agree")


def test_a_wrong_formula_is_incorrect_and_drawn_so(measured: Point) -> None:
    wrong = replace(measured, exact=erlang_b(2.0, 4))
    check = parity_check("a", "A", [measured, wrong], "blocking")
    assert not check.is_correct
    assert check.line.startswith("1 of 2 differ")
    symbols = [trace.marker.symbol for trace in check.panel.figure.data if trace.mode == "markers"]
    assert symbols == [("circle", "x")] * 2


def test_bars_are_as_long_as_the_verdict_is_wide(measured: Point) -> None:
    (differences,) = [
        trace for trace in parity_check("a", "A", [measured], "b").panel.figure.data if trace.error_y.array is not None
    ]
    touches = abs(differences.y[0]) <= differences.error_y.array[0]
    assert touches == measured.is_correct


def test_redials_lose_fewer_customers_than_attempts_and_more_with_more_load() -> None:
    loads = [exact(rate) for rate in (90.0, 105.0, 115.0)]
    assert all(load.lost_share < load.refused_share for load in loads)
    assert all(a.refused_share < b.refused_share for a, b in itertools.pairwise(loads))
