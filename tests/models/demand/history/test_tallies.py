"""Histories of counts: interval found, gaps filled, scaled without losing what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkproof.models.demand.history.counting import counted
from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.scaling import scaled
from trunkproof.models.demand.history.settings import Columns, HistorySettings
from trunkproof.models.demand.history.table import COUNTS_SCHEMA, History
from trunkproof.models.errors import InputError

Read = Callable[..., History]
Problems = Callable[..., list[str]]
REAL = Path(__file__).parents[5] / "shared" / "data" / "bank-calls-1999-h1.csv"


def day_text(day: str, calls: dict[str, int]) -> str:
    return "".join(f"{day},{start},{count}\n" for start, count in calls.items())


SPARSE = {"00:00": 2, "00:30": 1, "00:36": 3, "00:42": 1, "23:54": 1}
THREE_DAYS = "date,start,calls\n" + "".join(day_text(f"1999-01-0{n}", SPARSE) for n in (1, 2, 3))


def test_intervals_without_calls_are_filled(read: Read) -> None:
    history = read(THREE_DAYS, timezone="Asia/Jerusalem")
    counts = history.counts
    assert history.format == "counts"
    assert history.calls is None
    assert history.interval_s == 360
    assert counts.schema == COUNTS_SCHEMA
    assert counts.height == 3 * 240
    assert counts["attempts"].sum() == history.attempts == 24
    assert counts["start_local"][0] == datetime(1999, 1, 1)
    assert counts.filter(pl.col("start_local") == datetime(1999, 1, 2, 0, 36))["attempts"].item() == 3
    assert {oddity.kind for oddity in history.oddities} == set()


def test_the_real_history_reads_whole() -> None:
    if not REAL.exists():
        pytest.skip("the real history is not beside this repository")
    history = read_history(HistorySettings(path=REAL, timezone="Asia/Jerusalem"))
    raw = pl.read_csv(REAL)
    assert history.interval_s == 360
    assert history.attempts == raw["calls"].sum()
    assert history.days == 181
    doubled = read_history(HistorySettings(path=REAL, timezone="Asia/Jerusalem", scale=20))
    assert (doubled.counts["attempts"] == 20 * history.counts["attempts"]).all()


def test_named_columns_and_refusals(read: Read) -> None:
    text = "when,n,no\n" + "".join(f"2024-05-06 10:{minute:02d},{minute},1\n" for minute in range(0, 60, 5))
    history = read(text, columns=Columns(start="when", calls="n", refused="no"))
    assert history.interval_s == 300
    assert history.counts["refused"].sum() == 11
    assert {o.kind: o.count for o in history.oddities if "partial" not in o.kind} == {"refused_above_calls": 1}


@pytest.mark.parametrize(
    ("row", "kind", "calls"),
    [
        ("1999-01-03,soon,9", "unparsable", 24),
        ("1999-01-03,12:00,many", "unparsable_count", 24),
        ("1999-01-03,12:00,-3", "unparsable_count", 24),
        ("1999-01-03,12:00,2.5", "unparsable_count", 24),
        ("1999-01-03,23:54,1", "duplicate", 24),
        ("1999-01-03,23:54,5", "repeated_interval", 29),
        ("1999-01-03,12:01,5", "off_grid", 29),
    ],
)
def test_wrong_rows_are_counted_and_shown(read: Read, row: str, kind: str, calls: int) -> None:
    history = read(THREE_DAYS + row + "\n")
    (oddity,) = history.oddities
    assert (oddity.kind, oddity.count, oddity.rows) == (kind, 1, (17,))
    assert history.attempts == calls


def test_days_of_the_period_and_closed_days(read: Read) -> None:
    history = read(THREE_DAYS, since=date(1999, 1, 2), closed=(date(1999, 1, 3),))
    assert history.days == 2
    assert history.attempts == 16
    assert history.closed == (date(1999, 1, 3),)


def test_daily_counts_are_too_coarse(problems: Problems) -> None:
    (found,) = problems("date,calls\n" + "".join(f"2024-05-0{d},{d}\n" for d in range(1, 9)), columns=Columns(
        start="date", calls="calls"))  # fmt: skip
    assert "24 hours apart" in found


def test_what_has_no_times_or_no_numbers_is_told(problems: Problems) -> None:
    assert "no times" in problems("start,calls\nmorning,3\nnoon,4\n")[0]
    assert "no row has both" in problems("start,calls\n2024-05-06 10:00,a\n2024-05-06 10:06,b\n")[0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200), st.floats(1.0, 40.0))
def test_multiplied_counts_keep_their_running_total(calls: list[int], scale: float) -> None:
    counts = pl.DataFrame(
        {"attempts": calls, "refused": [n // 3 for n in calls]}, schema_overrides={"refused": pl.Int64}
    )
    result = scaled(counts, scale, Ledger())
    exact = np.cumsum(calls) * scale
    assert np.all(np.abs(result["attempts"].cum_sum().to_numpy() - exact) <= 1.0 + 1e-6)
    assert (result["refused"] <= result["attempts"]).all()


def test_thinned_counts_are_what_a_smaller_trunk_would_have() -> None:
    """Poisson counts stay Poisson: mean and variance are scale x mean. Bounds are 4.5 standard errors."""
    n, mean, scale = 40_000, 30.0, 0.3
    calls = np.random.default_rng(2).poisson(mean, n)
    counts = pl.DataFrame({"attempts": calls, "refused": np.zeros(n, dtype=np.int64)})
    ledger = Ledger()
    result = scaled(counts, scale, ledger)["attempts"].to_numpy()
    expected = scale * mean
    assert abs(result.mean() - expected) < 4.5 * math.sqrt(expected / n)
    # Var(s²) of a Poisson variable is (m + 2 m²) / n.
    assert abs(result.var() - expected) < 4.5 * math.sqrt((expected + 2 * expected**2) / n)
    assert [oddity.kind for oddity in ledger.oddities] == ["scaled"]
    assert scaled(counts, scale, Ledger()).equals(scaled(counts, scale, Ledger()))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5 * 86_400 - 1), min_size=1, max_size=200), st.sampled_from([7.0, 60.0, 900.0, 3600.0]))
def test_counts_sum_to_the_calls(seconds: list[int], interval_s: float) -> None:
    begin = datetime(2024, 3, 29)
    start = pl.Series("start_utc", [begin + timedelta(seconds=s - 3600) for s in seconds]).dt.replace_time_zone("UTC")
    calls = pl.DataFrame({"start_utc": start, "status": ["refused"] * len(seconds)})
    counts = counted(calls, begin, begin + timedelta(days=6), interval_s, "Europe/Berlin")
    assert counts["attempts"].sum() == counts["refused"].sum() == len(seconds)
    assert (counts["start_utc"].diff().drop_nulls().dt.total_milliseconds() == interval_s * 1000).all()
    assert counts["start_local"][0] == begin


def test_intervals_beyond_reason_are_told() -> None:
    calls = pl.DataFrame({"start_utc": [datetime(2024, 1, 1)], "status": ["busy"]})
    calls = calls.with_columns(pl.col("start_utc").dt.replace_time_zone("UTC"))
    with pytest.raises(InputError, match=r"history\.interval_s"):
        counted(calls, datetime(2024, 1, 1), datetime(2034, 1, 1), 0.1, "UTC")
