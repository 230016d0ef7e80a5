"""A change of the limit in force: seen by the plateau of admitted calls, shown or hidden; none where there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from tests.models.demand.fitting.conftest import FIRST, Truth, counts_only, make_history

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


def test_one_limit_is_no_change(month: History) -> None:
    assert find_throttle_change(month) is None
    assert find_throttle_change(without_refusals(month)) is None


def test_no_limit_is_no_change() -> None:
    assert find_throttle_change(counts_only(make_history(Truth(days=21, limit=90)))) is None


def test_a_stated_change_is_read() -> None:
    change = ThrottleChange.model_validate({"from": "2025-06-12", "per_minute": 36})
    assert change.from_ == date(2025, 6, 12)
