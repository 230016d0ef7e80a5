"""A bad hour again: which hour it is, who called for the first time in it, and what both throttles make of it."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from experiments.review.replay import LEAD_S, MOST_CALLS, fresh_instants, replay, worst_hour
from models.distributions import Exponential
from models.fitting.result import Ranged
from models.history.table import CALLS_SCHEMA, COUNTS_SCHEMA, History
from models.policies import FixedWindow
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.test_premises import request

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


def test_redials_of_the_same_two_numbers_are_no_fresh_calls() -> None:
    rows = [(0, "refused", 1, 9), (20, "refused", 1, 9), (50, "answered", 1, 9), (60, "answered", 1, 9),
            (70, "refused", 2, 9), (80, "answered", 2, 8), (90, "answered", None, None)]  # fmt: skip
    local = [BEGAN + timedelta(seconds=second) for second, *_ in rows]
    calls = pl.DataFrame(
        {
            "row": list(range(len(rows))),
            "start_utc": pl.Series([at - OFFSET for at in local]).dt.replace_time_zone("UTC"),
            "start_local": local,
            "direction": ["outbound"] * len(rows),
            "status": [status for _, status, _, _ in rows],
            "code": [None] * len(rows),
            "ringing_s": [None] * len(rows),
            "holding_s": [None] * len(rows),
            "caller": [caller for *_, caller, _ in rows],
            "callee": [callee for *_, callee in rows],
        }
    )
    calls = calls.select(pl.col(name).cast(kind) for name, kind in CALLS_SCHEMA.items())
    found = history(counts([7] + [0] * 59, [3] + [0] * 59), calls)
    hour = worst_hour(found)
    assert hour is not None
    assert fresh_instants(found, known_fit(), hour, 1) - LEAD_S == pytest.approx([0, 60, 70, 80, 90])


def test_counts_are_spread_within_their_interval_and_lose_their_redials() -> None:
    found = history(counts([20] * 60, [10] * 60))
    hour = worst_hour(found)
    assert hour is not None
    fit = known_fit()
    object.__setattr__(fit.redial, "probability", Ranged(0.5, 0.4, 0.6))
    instants = fresh_instants(found, fit, hour, 1)
    assert np.histogram((instants - LEAD_S) / 60, bins=np.arange(61))[0].tolist() == [15] * 60
    assert (fresh_instants(found, fit, hour, 1) == instants).all()
    assert not (fresh_instants(found, fit, hour, 2) == instants).all()


def test_the_higher_throttle_admits_what_the_present_one_refuses() -> None:
    asked = request(now_per_minute=20, requested_per_minute=40, readings=(FixedWindow(),), bandwidth_mbit_per_s=None)
    fit = known_fit(holding=Exponential(kind="exponential", mean_s=30.0))
    seen = replay(asked, history(counts([30] * 60, [5] * 60)), fit)
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
    seen = replay(asked, history(counts([22] * 60, [0] * 60)), known_fit())
    assert seen is not None
    assert seen.reading == known
    assert replay(asked, history(counts([MOST_CALLS // 60 + 2] * 60, [0] * 60)), known_fit()) is None
