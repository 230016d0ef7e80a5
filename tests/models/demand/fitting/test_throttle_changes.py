"""A change of the limit in force: seen by the plateau of admitted calls, shown or hidden; none where there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.conftest import FIRST, Truth, count_calls, counts_only, make_history

from trunkproof.models.demand.fitting.settings import ThrottleChange
from trunkproof.models.demand.fitting.throttle_changes import OpenSide, find_throttle_change
from trunkproof.models.demand.history.table import History

_CUT = FIRST + timedelta(days=10)


def two_limits(before: int, after: int) -> History:
    """Three weeks, of which the first ten days were under another limit."""
    first, second = (
        counts_only(make_history(Truth(days=21, limit=limit), seed)) for limit, seed in ((before, 1), (after, 51))
    )
    day = pl.col("start_local")
    return replace(first, counts=pl.concat([first.counts.filter(day < _CUT), second.counts.filter(day >= _CUT)]))


def without_refusals(history: History) -> History:
    admitted = (pl.col("attempts") - pl.col("refused")).alias("attempts")
    return replace(history, counts=history.counts.with_columns(admitted, pl.lit(0, pl.Int64).alias("refused")))


@pytest.mark.parametrize(("before", "after"), [(30, 36), (30, 24)])
def test_both_limits_and_the_date_are_found(before: int, after: int) -> None:
    history = two_limits(before, after)
    for shown in (history, without_refusals(history)):
        found = find_throttle_change(shown)
        assert found is not None
        assert (found.before_per_minute, found.after_per_minute) == (before, after)
        assert found.last_day_before < _CUT.date() <= found.first_day
        assert found.first_day - found.last_day_before <= timedelta(days=7)


def test_a_limit_that_refuses_none_any_more_is_known_from_below() -> None:
    found = find_throttle_change(two_limits(30, 90))
    assert found is not None
    assert found.open_side is OpenSide.AFTER
    assert found.before_per_minute == 30
    assert 33 < found.after_per_minute <= 90
    assert "at least" in found.words


def two_limits_with_calls(before: int, after: int) -> History:
    """The same with its calls, in windows that begin 17 seconds after the minute."""
    truth = Truth(days=21, peak_per_minute=19.0)
    first, second = (make_history(replace(truth, limit=limit), seed) for limit, seed in ((before, 1), (after, 51)))
    assert first.calls is not None
    assert second.calls is not None
    day = pl.col("start_local")
    calls = pl.concat([first.calls.filter(day < _CUT), second.calls.filter(day >= _CUT)])
    late = calls.with_columns((pl.col("start_local", "start_utc") + timedelta(seconds=17)).dt.truncate("1s"))
    return replace(first, calls=late, counts=count_calls(late, 21))


@pytest.mark.parametrize(("before", "after"), [(24, 29), (29, 24)])
def test_a_few_refusals_tell_of_a_change(before: int, after: int) -> None:
    history = two_limits_with_calls(before, after)
    assert history.counts["refused"].sum() < 0.01 * history.attempts
    found = find_throttle_change(history)
    assert found is not None
    assert (found.before_per_minute, found.after_per_minute) == (before, after)
    assert found.last_day_before < _CUT.date() <= found.first_day
    assert found.first_day - found.last_day_before <= timedelta(days=4)


def test_one_day_under_another_limit_is_no_change() -> None:
    history, other = two_limits_with_calls(29, 29), two_limits_with_calls(24, 24)
    assert history.calls is not None
    assert other.calls is not None
    odd = pl.col("start_local").dt.date() == (FIRST + timedelta(days=1)).date()
    calls = pl.concat([history.calls.filter(~odd), other.calls.filter(odd)]).sort("start_utc")
    assert find_throttle_change(replace(history, calls=calls, counts=count_calls(calls, 21))) is None


def test_a_throttle_that_no_window_describes_seems_to_change_by_no_growth() -> None:
    """Refusals by chance alone, more of them from week to week."""
    history = make_history(Truth(days=28, limit=90))
    assert history.calls is not None
    random = np.random.default_rng(3)
    week = (history.calls["start_local"].dt.date() - FIRST.date()).dt.total_days().to_numpy() // 7
    refused = pl.Series(random.random(history.calls.height) < 0.004 * (1 + week))
    status = pl.when(refused).then(pl.lit("refused", dtype=history.calls.schema["status"])).otherwise("status")
    calls = history.calls.with_columns(status.alias("status"))
    assert find_throttle_change(replace(history, calls=calls, counts=count_calls(calls, 28))) is None


def test_one_limit_is_no_change(month: History) -> None:
    assert find_throttle_change(month) is None
    assert find_throttle_change(without_refusals(month)) is None


def test_no_limit_is_no_change() -> None:
    assert find_throttle_change(counts_only(make_history(Truth(days=21, limit=90)))) is None


def test_a_stated_change_is_read() -> None:
    change = ThrottleChange.model_validate({"from": "2025-06-12", "per_minute": 36})
    assert change.from_ == date(2025, 6, 12)
