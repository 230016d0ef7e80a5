"""One point's verdict: a Student's t turned into the normal score that is as rare, and the reach of a check."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from trunkproof.experiments.prediction.twin import LARGEST_Z
from trunkproof.experiments.verification.check import Point


def point(ratio: float, repetitions: int) -> Point:
    return Point("p", exact=0.2, mean=0.2 + 0.01 * ratio, standard_error=0.01, repetitions=repetitions)


@pytest.mark.parametrize("repetitions", [4, 16, 400])
@pytest.mark.parametrize("tail", [0.3, 1e-3, 1e-9])
def test_the_score_is_as_rare_as_the_t(repetitions: int, tail: float) -> None:
    ratio = float(stats.t.isf(tail, repetitions - 1))
    assert point(ratio, repetitions).score == pytest.approx(stats.norm.isf(tail))
    assert point(-ratio, repetitions).score == pytest.approx(-stats.norm.isf(tail))


def test_with_many_repetitions_the_score_is_the_number_of_standard_errors() -> None:
    assert point(3.0, 10**7).score == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize("repetitions", [4, 16, 400])
def test_a_difference_within_reach_is_correct_and_one_beyond_it_is_not(repetitions: int) -> None:
    at = point(0.0, repetitions)
    assert replace(at, mean=at.exact + 0.999 * at.reach).is_correct
    assert not replace(at, mean=at.exact - 1.001 * at.reach).is_correct


def test_beyond_reach_means_beyond_the_largest_z() -> None:
    at = point(0.0, 16)
    assert replace(at, mean=at.exact + at.reach).score == pytest.approx(LARGEST_Z)
