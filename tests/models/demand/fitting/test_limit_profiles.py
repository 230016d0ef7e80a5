"""What passed and what was refused, held against each limit."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
from numpy.testing import assert_array_equal
from tests.models.demand.fitting.conftest import FIRST, Truth, count_calls, counts_only, make_history

from trunkproof.models.demand.fitting.limit_profiles import limit_profiles
from trunkproof.models.demand.history.table import CALLS_SCHEMA, COUNTS_SCHEMA, History


def history_of(seconds: list[float], refused: list[bool]) -> History:
    """One day with these attempts."""
    start = [FIRST + timedelta(seconds=second) for second in seconds]
    nothing = {name: pl.Series([None] * len(start)) for name in CALLS_SCHEMA}
    shown = {
        "row": range(len(start)),
        "start_utc": pl.Series(start).dt.replace_time_zone("UTC"),
        "start_local": start,
        "status": ["refused" if one else "answered" for one in refused],
    }
    calls = pl.DataFrame({**nothing, **shown}, schema=CALLS_SCHEMA)
    return History("made.csv", "made", "UTC", len(start), calls, count_calls(calls, 1), 60.0)


def test_a_window_is_full_where_it_refuses() -> None:
    # A limit of 2 in windows that begin on the minute.
    history = history_of([10, 20, 30, 65, 75, 90, 130], [False, False, True, False, False, True, False])
    fixed, sliding, attempts = limit_profiles(history)
    assert fixed.days == (FIRST.date(),)
    assert_array_equal(fixed.limits, [2, 3])
    # A limit of 3 contradicts both refusals.
    assert_array_equal(fixed.contradicted, [[0, 2]])
    # The minute before the attempt at 65 holds two that were admitted: it contradicts a sliding limit of 2.
    assert sliding.contradicted[0, sliding.limits == 2].item() > 0
    assert attempts.contradicted[0, attempts.limits == 2].item() > 0


def test_counts_tell_of_whole_intervals() -> None:
    begin = [FIRST + timedelta(minutes=minute) for minute in range(4)]
    counts = pl.DataFrame(
        {"start_utc": pl.Series(begin).dt.replace_time_zone("UTC"), "start_local": begin, "attempts": [5, 9, 7, 8],
         "refused": [0, 2, 0, 1]}, schema=COUNTS_SCHEMA,
    )  # fmt: skip
    (profile,) = limit_profiles(History("made.csv", "made", "UTC", 4, None, counts, 60.0))
    # Both intervals with refusals admitted 7, and no other had more.
    assert_array_equal(profile.limits, [7, 8])
    assert_array_equal(profile.contradicted, [[0, 2]])
    assert profile.per_minute == 1


def test_the_limit_is_the_one_with_fewest_contradictions() -> None:
    history = make_history(Truth(days=7, limit=30))
    for shown in (history, counts_only(history)):
        profile = next(limit_profiles(shown))
        assert profile.limits[profile.contradicted.sum(axis=0).argmin()] == 30


def test_nothing_refused_tells_nothing() -> None:
    history = make_history(Truth(days=2, limit=90))
    assert not history.counts["refused"].sum()
    assert not list(limit_profiles(history))
