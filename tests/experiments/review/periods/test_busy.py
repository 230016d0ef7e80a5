"""Which periods are judged: by what a throttle would meet in them, at any five minutes, without broken days."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.experiments.review.known_fit import MONDAY, known_days

from trunkproof.experiments.review.periods.busy import BusyPeriod, BusyPeriods, level_per_minute
from trunkproof.models.demand.fitting.day_rates import DayRates


def minutes(days: int = 10, base: float = 20.0) -> np.ndarray:
    """Calls in each minute of each day."""
    return np.full((days, 1440), base)


def made(counts: np.ndarray, period_s: float = 60.0, classes: tuple[tuple[int, ...], ...] | None = None) -> DayRates:
    return replace(
        known_days(1.0, len(counts), period_s),
        dates=tuple(MONDAY + timedelta(number) for number in range(len(counts))),
        counts=counts,
        classes=classes or (tuple(range(7)),),
    )


def chosen(rates: DayRates, **more: np.ndarray) -> BusyPeriods:
    return BusyPeriods.of(rates, np.ones(len(rates.dates)), 1, more.get("usable"))


def test_a_campaign_is_found_although_another_hour_has_the_higher_mean() -> None:
    counts = minutes()
    counts[:, 14 * 60 : 15 * 60] = 130
    counts[:, 605:645] = 170  # 40 minutes: with 20 beside them 120 in the mean of the hour
    busy = chosen(made(counts))
    (period,) = busy.periods
    assert period.start_s <= 605 * 60
    assert period.start_s + period.length_s >= 645 * 60
    # All of its calls but one in a hundred are below it: nearly all are in minutes of 170.
    assert 160 < period.level_per_minute < 170
    assert busy.start_s.tolist() == [period.start_s] * 10


def test_a_period_begins_at_any_five_minutes() -> None:
    counts = minutes()
    counts[:, 610:670] = 100
    assert chosen(made(counts)).periods[0].start_s == 610 * 60


def test_longer_periods_of_the_history_have_starts_of_their_own() -> None:
    counts = np.full((10, 360), 40.0)
    counts[:, 156:171] = 400  # periods of four minutes, from 10:24 on
    (period,) = chosen(made(counts, 240.0)).periods
    assert period.start_s == 156 * 240
    quarters = np.full((10, 96), 100.0)
    quarters[:, 41:45] = 900
    assert chosen(made(quarters, 900.0)).periods[0].start_s == 41 * 900


def test_classes_nearly_as_busy_as_the_busiest_are_judged_and_others_not() -> None:
    counts = minutes(14)
    counts[:, 660:720] = 200
    counts[5::7, 660:720] = 20
    counts[5::7, 720:780] = 185
    counts[6::7] = 20
    busy = chosen(made(counts, classes=((0, 1, 2, 3, 4), (5,), (6,))))
    assert [(one.weekdays, one.start_s / 3600) for one in busy.periods] == [((0, 1, 2, 3, 4), 11), ((5,), 12)]
    assert busy.words == "Monday to Friday 11:00 to 12:00; Saturday 12:00 to 13:00"
    assert busy.days.tolist() == [day for day in range(14) if day % 7 != 6]
    assert (busy.period_of_day == (busy.days % 7 == 5)).all()


@pytest.mark.parametrize("base", [0.0, 4.0, 40.0])
def test_the_whole_campaign_is_in_the_period_and_not_its_edge(base: float) -> None:
    """Of a campaign beside little else, five minutes have the same level as all forty."""
    random = np.random.default_rng(2)
    counts = minutes(19, base)
    counts[:, 600:640] += 174 * np.exp(0.1 * random.standard_normal((19, 1)))
    (period,) = chosen(made(random.poisson(counts).astype(np.float64))).periods
    assert 580 * 60 <= period.start_s <= 600 * 60


def test_factors_bring_days_to_one_level_before_they_are_compared() -> None:
    counts = minutes(2, 0.0)
    counts[0, 600:660] = 100
    counts[1, 900:960] = 60
    rates = made(counts)
    plain = BusyPeriods.of(rates, np.ones(2), 1)
    grown = BusyPeriods.of(rates, np.array([1.0, 2.0]), 1)
    assert (plain.periods[0].start_s, grown.periods[0].start_s) == (600 * 60, 900 * 60)


def test_a_breakdown_leaves_its_day_out_if_it_touches_the_period() -> None:
    counts = minutes()
    counts[:, 630:690] = 100
    usable = np.ones((10, 24), dtype=np.bool_)
    usable[2, 11] = False  # the period reaches into this hour
    usable[3, 12] = False
    usable[4, 9] = False
    busy = chosen(made(counts), usable=usable)
    assert busy.days.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert len(busy.start_s) == len(busy.period_of_day) == 9


def test_optimism_is_none_where_one_period_stands_out_and_some_among_equals() -> None:
    random = np.random.default_rng(1)
    alike = random.poisson(50, (10, 1440)).astype(np.float64)
    alone = alike.copy()
    alone[:, 600:660] *= 2
    among_equals, stands_out = chosen(made(alike)).optimism, chosen(made(alone)).optimism
    assert 0 <= stands_out < among_equals
    # The level of ten hours of 50 a minute is a quantile of 600 minutes: known to some 2 %.
    assert among_equals < 0.06
    assert stands_out < 0.02


def test_optimism_is_that_of_the_period_that_most_calls_meet() -> None:
    """One minute is higher on one day in five, and a rush is there on all: the minute's hour is never chosen."""
    random = np.random.default_rng(3)
    counts = random.poisson(minutes(20)).astype(np.float64)
    counts[:, 600:640] = random.poisson(200, (20, 40))
    rush_alone = chosen(made(counts)).optimism
    counts[::5, 840:843] = 230
    busy = chosen(made(counts))
    assert 580 * 60 <= busy.periods[0].start_s <= 600 * 60
    # How often a day with the high minutes is drawn changes their own hour's level by some percent, and says nothing
    # of the rush.
    assert busy.optimism == pytest.approx(rush_alone, abs=1e-3)


@pytest.mark.parametrize(
    ("weekdays", "words"),
    [
        ((0, 1, 2, 3, 4), "Monday to Friday 10:05 to 11:05"),
        ((6,), "Sunday 10:05 to 11:05"),
        ((0, 6), "Monday and Sunday 10:05 to 11:05"),
        ((0, 2, 6), "Monday, Wednesday and Sunday 10:05 to 11:05"),
    ],
)
def test_periods_for_people(weekdays: tuple[int, ...], words: str) -> None:
    assert BusyPeriod(weekdays, 10 * 3600 + 300, 3600.0, 1.0).words == words


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=80).filter(lambda seen: sum(seen) > 1e-6))
def test_one_call_in_a_hundred_is_beyond_the_level(seen: list[float]) -> None:
    counts = np.array(seen)
    level = float(level_per_minute(counts))
    assert 0 <= level <= counts.max()
    assert np.maximum(counts - level, 0).sum() == pytest.approx(0.01 * counts.sum(), rel=1e-9)


def test_levels_of_several_rows_are_those_of_each() -> None:
    rows = np.random.default_rng(1).poisson(30, (3, 4, 50)).astype(np.float64)
    found = level_per_minute(rows)
    assert found.shape == (3, 4)
    assert found[2, 1] == float(level_per_minute(rows[2, 1]))
    assert float(level_per_minute(np.zeros(5))) == 0.0
