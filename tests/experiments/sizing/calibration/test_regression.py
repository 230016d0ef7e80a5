"""Relative least squares on costs that are known, and on observations that were tampered with."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.experiments.sizing.calibration.regression import OUTLIER, Explain, fit_relative

COSTS = np.array([0.002, 0.0004, 0.00002, 0.01])


GUESS = (1e-3, 1e-3, 1e-4, 1e-2)


def linear(x: np.ndarray) -> Explain:
    return lambda values: x @ values


def design(seed: int, rows: int = 24) -> np.ndarray:
    dice = np.random.default_rng(seed)
    return np.column_stack([dice.integers(0, 300, (rows, 2)), dice.integers(0, 20_000, rows), np.full(rows, 12.0)])


def test_exact_observations_give_the_costs_exactly() -> None:
    x = design(1)
    fit = fit_relative(linear(x), GUESS, x @ COSTS)
    assert fit.values == pytest.approx(COSTS, rel=1e-6)
    assert fit.r_squared == pytest.approx(1)
    assert fit.relative_error == pytest.approx(0, abs=1e-6)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    dice = np.random.default_rng(7)
    runs, held = 400, np.zeros(len(COSTS))
    for seed in range(runs):
        x = design(seed)
        truth = x @ COSTS
        fit = fit_relative(linear(x), GUESS, truth * (1 + dice.normal(0, 0.03, len(truth))))
        held += [low <= cost <= high for cost, (low, high) in zip(COSTS, fit.intervals, strict=True)]
    # 95 %, within z = 4.5 of a binomial; relative errors make observations divide themselves, a bias of second order.
    assert np.all(np.abs(held / runs - 0.95) < 4.5 * np.sqrt(0.95 * 0.05 / runs))


def test_an_outlier_is_shown_and_stays_in() -> None:
    x = design(3)
    dice = np.random.default_rng(3)
    observed = x @ COSTS * (1 + dice.normal(0, 0.01, len(x)))
    observed[5] *= 1.3
    fit = fit_relative(linear(x), GUESS, observed)
    assert fit.outliers == [5]
    assert fit.studentised[5] > OUTLIER
    assert len(fit.fitted) == len(x)


@pytest.mark.parametrize("x", [design(1)[:5], np.column_stack([design(1), design(1)[:, 0]])])
def test_what_the_observations_do_not_determine_is_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not determine"):
        fit_relative(linear(x), np.full(x.shape[1], 1e-3), np.ones(len(x)))
