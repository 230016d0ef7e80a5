"""The certificate: its bracket to the last interval, and intervals that are too narrow are found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trunkproof.experiments.verification.coverage import certificate, tolerance


def contained(count: int, repeats: int = 400) -> np.ndarray:
    return np.arange(repeats) < count


@pytest.mark.parametrize(("count", "correct"), [(371, False), (372, True), (380, True), (388, True), (389, False)])
def test_93_to_97_percent_of_400(count: int, correct: bool) -> None:
    check = certificate({"a": contained(380), "b": contained(count)})
    assert check.is_correct is correct
    assert check.values["coverage"]["b"] == count / 400


def test_fewer_repeats_are_asked_for_as_many_standard_errors() -> None:
    assert tolerance(400) == 0.02
    assert tolerance(100) == pytest.approx(0.04)


@pytest.mark.parametrize(("quantile", "correct"), [(stats.t(7).ppf(0.975), True), (stats.norm.ppf(0.975), False)])
def test_intervals_with_a_normal_quantile_in_place_of_students_are_found(quantile: float, correct: bool) -> None:
    values = np.random.default_rng(2).standard_normal((400, 8))
    half_widths = quantile * values.std(axis=1, ddof=1) / np.sqrt(8)
    assert certificate({"a": np.abs(values.mean(axis=1)) <= half_widths}).is_correct is correct


def test_the_picture_ends_at_the_verdicts_share() -> None:
    (line,) = certificate({"a": contained(380)}).panel.figure.data
    assert len(line.y) == 400
    assert line.y[-1] == pytest.approx(95)
