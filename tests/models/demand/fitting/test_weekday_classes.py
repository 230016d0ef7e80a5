"""Classes and fineness of the day's shape, found again on counts that were made of known ones."""

from __future__ import annotations

import numpy as np
import pytest
from tests.models.demand.fitting.conftest import SHAPE

from trunkproof.models.demand.fitting.weekday_classes import Classes, choose_resolution, shape_of

QUARTERS = 96


def made(
    levels: list[float], days: int = 28, *, minutes: bool = False, seed: int = 1, day_cv: float = 0.06
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Counts of days that differ in level by weekday, Saturdays with an early shape and Sundays with a late one."""
    random = np.random.default_rng(seed)
    weekdays = np.arange(days) % 7
    shapes = np.array([SHAPE] * 5 + [np.roll(SHAPE, -3), np.roll(SHAPE, 3)]) / SHAPE.sum()
    rates = np.repeat(shapes[weekdays] * np.array(levels)[weekdays, None], 60 if minutes else 4, axis=1)
    rates /= 60 if minutes else 4
    rates *= random.gamma(day_cv**-2, day_cv**2, (days, 1)) if day_cv else 1
    return random.poisson(rates).astype(np.float64), weekdays, np.arange(days) // 7, 60.0 if minutes else 900.0


def as_sets(classes: Classes) -> set[frozenset[int]]:
    return {frozenset(one) for one in classes}


WORKING = frozenset(range(5))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_weekdays_saturdays_and_sundays_are_found(seed: int) -> None:
    counts, *rest = made([8000.0] * 5 + [4000, 1500], seed=seed)
    assert as_sets(choose_resolution(counts, *rest).classes) == {WORKING, frozenset({5}), frozenset({6})}


def test_a_week_from_sunday_to_thursday_is_found() -> None:
    # Shapes of Friday and Saturday are those of the made weekend, Sunday's is a working day's.
    counts, weekdays, weeks, period = made([8000.0] * 5 + [4000, 1500])
    resolution = choose_resolution(counts, (weekdays + 6) % 7, weeks, period)
    assert as_sets(resolution.classes) == {frozenset({6, 0, 1, 2, 3}), frozenset({4}), frozenset({5})}


def test_days_that_differ_in_level_alone_are_two_classes_of_one_shape() -> None:
    random = np.random.default_rng(1)
    weekdays = np.arange(28) % 7
    rates = np.where(weekdays < 5, 8000.0, 3000.0)[:, None] * np.repeat(SHAPE / SHAPE.sum() / 4, 4)
    rates = rates * random.gamma(1 / 0.06**2, 0.06**2, (28, 1))
    resolution = choose_resolution(random.poisson(rates).astype(np.float64), weekdays, np.arange(28) // 7, 900.0)
    assert as_sets(resolution.classes) == {WORKING, frozenset({5, 6})}
    assert len(resolution.shape_classes) <= 2


def test_a_weekday_that_the_history_does_not_have_belongs_to_the_largest_class() -> None:
    counts, weekdays, weeks, period = made([8000.0] * 5 + [4000, 1500])
    seen = weekdays != 2
    classes = choose_resolution(counts[seen], weekdays[seen], weeks[seen], period).classes
    assert frozenset({0, 1, 2, 3, 4}) in as_sets(classes)
    assert sorted(day for one in classes for day in one) == list(range(7))


def test_one_week_says_nothing_of_the_next_and_makes_one_class() -> None:
    counts, *rest = made([8000.0] * 5 + [4000, 1500], days=7)
    assert choose_resolution(counts, *rest).classes == (tuple(range(7)),)


def test_a_campaign_of_forty_minutes_makes_the_shape_fine() -> None:
    counts, weekdays, weeks, period = made([2000.0] * 5 + [1000, 400], minutes=True)
    campaign = np.zeros(1440)
    campaign[600:640] = 30.0
    counts += np.random.default_rng(2).poisson(campaign, counts.shape) * (weekdays < 5)[:, None]
    resolution = choose_resolution(counts, weekdays, weeks, period)
    # A campaign from 10:00 to 10:40 fits into periods of ten minutes or less.
    assert resolution.length_s <= 600
    assert WORKING in as_sets(resolution.shape_classes)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_alone_keeps_the_shape_coarse(seed: int) -> None:
    counts, *rest = made([300.0] * 5 + [100, 40], minutes=True, seed=seed)
    assert choose_resolution(counts, *rest).length_s == 3600


def test_a_shape_is_a_share_of_each_period_and_none_is_impossible() -> None:
    counts = np.zeros((3, QUARTERS))
    counts[:, 40:44] = [[1, 2, 3, 4]] * 3
    shape = shape_of(counts, 1)
    assert shape.sum() == pytest.approx(1)
    assert (shape > 0).all()
    assert shape[43] / shape[41] == pytest.approx(12.125 / 6.125)
    flat = shape_of(counts, 4)
    assert np.ptp(flat[40:44]) == 0
    assert flat[40:44].sum() == pytest.approx(shape[40:44].sum())
