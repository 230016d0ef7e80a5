"""A bad hour again: which hour it is, who called for the first time in it, and what both throttles make of it."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.theory.test_premises import request

from trunkproof.experiments.review.sweep.replay import MOST_CALLS, replay, worst_hour
from trunkproof.models.demand.fitting.result import Fit, Fresh
from trunkproof.models.demand.history.table import COUNTS_SCHEMA, History
from trunkproof.models.distributions import Distribution, Exponential
from trunkproof.models.throttles.fixed_window import FixedWindow

BEGAN = datetime(2026, 9, 7, 10)
OFFSET = timedelta(hours=5, minutes=30)


def counts(attempts: list[int], refused: list[int]) -> pl.DataFrame:
    """Minutes from ten o'clock on, in India."""
    local = [BEGAN + timedelta(minutes=n) for n in range(len(attempts))]
    frame = pl.DataFrame(
        {
            "start_utc": pl.Series([at - OFFSET for at in local]).dt.replace_time_zone("UTC"),
            "start_local": local,
            "attempts": attempts,
            "refused": refused,
        }
    )
    return frame.select(pl.col(name).cast(kind) for name, kind in COUNTS_SCHEMA.items())


def history(table: pl.DataFrame, calls: pl.DataFrame | None = None, closed: tuple[date, ...] = ()) -> History:
    return History("x.csv", "counts", "Asia/Kolkata", table.height, calls, table, 60.0, (), closed)


def test_the_worst_hour_is_the_one_that_refused_most() -> None:
    table = counts([30] * 60 + [20] * 60 + [25] * 60, [0] * 60 + [2] * 60 + [0] * 60)
    worst = worst_hour(history(table))
    assert worst is not None
    assert worst.began_local == datetime(2026, 9, 7, 11)
    busiest = worst_hour(history(table.with_columns(refused=pl.lit(0, dtype=pl.Int64))))
    assert busiest is not None
    assert busiest.began_local == BEGAN


def test_no_hour_is_the_worst_of_closed_days_or_of_none() -> None:
    assert worst_hour(history(counts([30] * 60, [0] * 60), closed=(BEGAN.date(),))) is None
    assert worst_hour(history(counts([0] * 60, [0] * 60))) is None


def fit_with(per_minute: list[int], more: Distribution | None = None) -> Fit:
    """Of an hour's calls from ten o'clock on, as counts by minute, and none before."""
    starts = [BEGAN + timedelta(minutes=number) for number in range(len(per_minute))]
    fresh = Fresh(pl.DataFrame({"start_local": starts, "fresh": per_minute}), "fresh", 60.0)
    return known_fit(holding=more, fresh=fresh)


def test_the_higher_throttle_admits_what_the_present_one_refuses() -> None:
    asked = request(
        now_per_minute=20, requested_per_minute=40, interpretations=(FixedWindow(),), bandwidth_mbit_per_s=None
    )
    fit = fit_with([30] * 60, Exponential(kind="exponential", mean_s=30.0))
    seen = replay(asked, history(counts([30] * 60, [5] * 60)), fit, 40)
    assert seen is not None
    assert seen.began == BEGAN
    assert seen.offered.tolist() == [30.0] * 60
    for shown in (seen.now, seen.requested):
        assert shown["admitted"].sum() + shown["refused"].sum() == pytest.approx(60 * 30, abs=60)
    # Windows of the throttle begin at plan zero, and so do the minutes shown.
    assert seen.now["admitted"] == pytest.approx(np.full(60, 20), abs=1)
    assert seen.requested["refused"].sum() == 0
    assert seen.requested["concurrent"].mean() > seen.now["concurrent"].mean()


def test_a_throttle_that_is_known_is_the_one_that_is_replayed_and_a_vast_hour_is_not() -> None:
    known = FixedWindow(limit=10, window_s=30)
    asked = request(now_per_minute=20, requested_per_minute=40, enforced=known)
    seen = replay(asked, history(counts([22] * 60, [0] * 60)), fit_with([22] * 60), 40)
    assert seen is not None
    assert seen.interpretation == known
    vast = [MOST_CALLS // 60 + 2] * 60
    assert replay(asked, history(counts(vast, [0] * 60)), fit_with(vast), 40) is None


def test_an_hour_that_nobody_made_is_not_replayed() -> None:
    asked = request(now_per_minute=20, requested_per_minute=40)
    seen = history(counts([22] * 60, [0] * 60))
    assert replay(asked, seen, fit_with([22] * 60).times(2.0), 40) is None
    assert replay(asked, seen, fit_with([0] * 60), 40) is None
    assert replay(asked, history(counts([0] * 60, [0] * 60)), fit_with([22] * 60), 40) is None


def test_the_throttle_that_is_shown_is_the_one_that_is_asked_for_here() -> None:
    asked = request(
        now_per_minute=20, requested_per_minute=40, interpretations=(FixedWindow(),), bandwidth_mbit_per_s=None
    )
    seen = history(counts([30] * 60, [5] * 60))
    at_25 = replay(asked, seen, fit_with([30] * 60), 25)
    assert at_25 is not None
    assert at_25.requested["admitted"] == pytest.approx(np.full(60, 25), abs=1)
    assert at_25.interpretation == FixedWindow()
