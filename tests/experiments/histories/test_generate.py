"""A history says what its truth says: measured on what was generated, with tolerances that follow from the numbers."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from trunkproof.experiments.histories.calls import ANSWERED, REFUSED, STATUSES, fresh_instants, unrefused_attempts
from trunkproof.experiments.histories.generate import generate, made_attempts
from trunkproof.experiments.histories.truth import ClockStep, Defects, Truth
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import Columns, HistorySettings
from trunkproof.models.demand.history.table import CallStatus
from trunkproof.models.distributions import Constant, Exponential, Lognormal
from trunkproof.models.errors import InputError
from trunkproof.models.teletraffic import fixed_window_refused, fixed_window_standard_error
from trunkproof.models.throttles.decision import Refused
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket
from trunkproof.models.traffic import Outcomes, Redial, Rejection

Z = 4.5
FLAT = (tuple([12.0] * 24),) * 7
REDIAL = Redial(probability=0.6, delay=Exponential(kind="exponential", mean_s=20), attempts=8, obeys_retry_after=False)


def truth(**changed: object) -> Truth:
    values: dict[str, object] = {
        "name": "made up",
        "seed": 7,
        "first_day": date(2026, 3, 2),
        "days": 7,
        "hourly_per_minute": FLAT,
        "holding": Lognormal(kind="lognormal", mean_s=120, cv=1.1),
        "outcomes": Outcomes(busy=0.08, no_answer=0.1, abandoned=0.04),
        "redial": REDIAL,
        "throttle": FixedWindow(limit=14, window_s=60),
    }
    return Truth.model_validate(values | changed)


def test_fresh_calls_come_at_the_rate_of_their_weekday_and_hour() -> None:
    by_hour = tuple(tuple(float(1 + weekday + hour / 4) for hour in range(24)) for weekday in range(7))
    made = truth(days=28, hourly_per_minute=by_hour)
    hours = (fresh_instants(made) // 3600).astype(np.int64)
    seen = np.bincount(hours, minlength=28 * 24).reshape(4, 7, 24).sum(axis=0)
    expected = 4 * 60 * np.array(by_hour)
    assert np.all(np.abs(seen - expected) < Z * np.sqrt(expected))


def test_busyness_of_days_and_periods_is_in_the_counts() -> None:
    days, day_cv, period_cv = 400, 0.2, 0.3
    made = truth(days=days, day_cv=day_cv, period_cv=period_cv, hourly_per_minute=(tuple([1.0] * 24),) * 7)
    quarters = np.bincount((fresh_instants(made) // 900).astype(np.int64), minlength=days * 96).reshape(days, 96)
    mean = 15.0
    of_days = quarters.sum(axis=1) / (96 * mean)
    # Each day's mean has the day's factor, and what is left of 96 periods' factors and of Poisson noise.
    left = (1 + day_cv**2) * period_cv**2 / 96 + 1 / (96 * mean)
    expected = day_cv**2 + left
    excess = 6 * day_cv**2 + 3  # kurtosis of a gamma factor, which the day's spread is made of
    assert abs(of_days.var() - expected) < Z * expected * math.sqrt((excess - 1) / days)
    within = (quarters - quarters.mean(axis=1, keepdims=True)).var(axis=1) * 96 / 95
    per_day = mean + mean**2 * (1 + day_cv**2) * period_cv**2
    assert abs(within.mean() - per_day) < Z * within.std() / math.sqrt(days)


def test_calls_end_and_hold_as_the_outcomes_and_the_holding_say() -> None:
    made = made_attempts(truth(throttle=NoThrottle()))
    share = {status: (made["status"] == STATUSES.index(status)).mean() for status in CallStatus}
    for status, wanted in (("busy", 0.08), ("no_answer", 0.1), ("abandoned", 0.04), ("answered", 0.78)):
        assert abs(share[CallStatus(status)] - wanted) < Z * math.sqrt(wanted * (1 - wanted) / made.height)
    holds = made.filter(pl.col("status") == ANSWERED)["hold_s"]
    assert abs(holds.mean() - 120) < Z * 1.1 * 120 / math.sqrt(len(holds))
    assert made.filter(pl.col("status") != ANSWERED)["hold_s"].max() == 0


def test_refused_callers_try_again_with_the_redials_probability() -> None:
    made = made_attempts(truth())
    refused = made.filter((pl.col("status") == REFUSED) & (pl.col("attempt") < REDIAL.attempts - 1))
    # The last minutes' redials may lie beyond the end.
    refused = refused.filter(pl.col("at_s") < 7 * 86_400 - 600)
    again = refused.join(made.select("call", attempt=pl.col("attempt") - 1, next_s="at_s"), on=["call", "attempt"])
    share = again.height / refused.height
    assert abs(share - 0.6) < Z * math.sqrt(0.24 / refused.height)
    waits = again["next_s"] - again["at_s"]
    assert abs(waits.mean() - 20) < Z * 20 / math.sqrt(len(waits))
    answered = made.filter(pl.col("status") == ANSWERED).select("call", last="attempt")
    assert made.join(answered, on="call").filter(pl.col("attempt") > pl.col("last")).is_empty()


def test_callers_whom_the_far_side_rejects_try_again_too() -> None:
    outcomes = Outcomes(rejected=(Rejection(status=404, share=0.2),))
    made = made_attempts(truth(outcomes=outcomes, throttle=NoThrottle()))
    fresh = made.filter(pl.col("attempt") == 0).height
    chance = 0.2 * 0.6
    expected = sum(chance**n for n in range(1, REDIAL.attempts))
    redials = made.height - fresh
    # Redials per fresh call are geometric: variance p / (1 - p)^2.
    assert abs(redials / fresh - expected) < Z * math.sqrt(chance / (1 - chance) ** 2 / fresh)


def test_without_redials_the_throttle_refuses_what_the_formula_says() -> None:
    made = made_attempts(truth(redial=Redial(), days=28))
    windows = 28 * 1440
    seen = (made["status"] == REFUSED).mean()
    assert abs(seen - fixed_window_refused(12, 14)) < Z * fixed_window_standard_error(12, 14, windows)


@pytest.mark.parametrize(
    "throttle",
    [
        FixedWindow(limit=14, window_s=60),
        FixedWindow(limit=5, window_s=20),
        SlidingWindowAdmitted(limit=14, window_s=60),
        SlidingWindowAttempts(limit=22, window_s=60),
        TokenBucket(limit=13, window_s=60, burst=4),
        Shaper(limit=13, window_s=60, max_delay_s=5),
    ],
    ids=lambda policy: policy.policy,
)
@pytest.mark.parametrize("anchor_s", [0.0, 17.0])
def test_every_attempt_is_decided_as_by_one_throttle_that_saw_them_all(
    throttle: ThrottleSettings, anchor_s: float
) -> None:
    rejected = Outcomes(busy=0.1, rejected=(Rejection(status=404, share=0.1),))
    made = made_attempts(truth(days=1, throttle=throttle, anchor_s=anchor_s, outcomes=rejected))
    whole = throttle.make_throttle(anchor_s)
    decided = [isinstance(whole.try_admit(now), Refused) for now in made["at_s"].to_list()]
    assert (made["status"] == REFUSED).to_list() == decided
    assert 0.01 < np.mean(decided) < 0.9


def test_where_it_does_not_count_inbound_calls_the_throttle_refuses_none() -> None:
    made = made_attempts(truth(inbound_share=0.5, throttle=FixedWindow(limit=7, window_s=60, counts="outbound")))
    refused = made.group_by("inbound").agg((pl.col("status") == REFUSED).sum()).sort("inbound")["status"].to_list()
    assert refused[0] > 100
    assert refused[1] == 0
    share = made.filter(pl.col("attempt") == 0)["inbound"].mean()
    assert abs(share - 0.5) < Z * 0.5 / math.sqrt(made["call"].n_unique())


def test_attempts_of_a_call_are_numbered_and_in_order() -> None:
    made = made_attempts(truth()).sort("call", "attempt")
    numbered = made.with_columns(place=pl.int_range(pl.len()).over("call"))
    assert (numbered["place"] == numbered["attempt"]).all()
    later = numbered.with_columns(before=pl.col("at_s").shift(1).over("call")).drop_nulls("before")
    assert (later["at_s"] > later["before"]).all()
    assert made["at_s"].max() < 7 * 86_400


def test_the_same_seed_makes_the_same_file_and_another_one_another(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "a.csv.gz", "b.csv.gz", "a.parquet", "b.parquet"):
        generate(truth(days=1), tmp_path / name)
    generate(truth(days=1, seed=8), tmp_path / "c.csv")
    for suffix in (".csv", ".csv.gz", ".parquet"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() != (tmp_path / "c.csv").read_bytes()


DEFECTS = Defects(
    duplicates=11,
    negative_durations=5,
    missing_ends=7,
    unparsable=3,
    clock_step=ClockStep(day=0, hour=12, step_s=-300, lasts_s=1800),
)
COLUMNS = Columns(
    start="began",
    answered="answered",
    end="ended",
    status="result",
    code="sip",
    caller="caller",
    callee="called",
    direction="direction",
)


@pytest.mark.parametrize("form", ["operator", "asterisk", "freeswitch", "columns"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_what_was_written_is_read_again_with_its_defects(tmp_path: Path, form: str, suffix: str) -> None:
    path = tmp_path / f"history{suffix}"
    # Without an identifier, two attempts of one pair in the same second are one row written twice.
    patient = REDIAL.model_copy(update={"delay": Lognormal(kind="lognormal", mean_s=40, cv=0.5)})
    made = generate(truth(days=1, format=form, inbound_share=0.3, defects=DEFECTS, redial=patient), path)
    history = read_history(HistorySettings(path=path, columns=COLUMNS if form == "columns" else None))
    assert history.format == form
    assert history.rows_read == made.rows == made.attempts + DEFECTS.duplicates
    assert history.attempts == made.attempts - DEFECTS.unparsable
    assert history.counts["refused"].sum() == made.refused
    odd = {oddity.kind: oddity.count for oddity in history.oddities}
    backwards = odd.get("negative_duration", 0) + odd.get("end_before_start", 0)
    assert (odd["duplicate"], odd["unparsable"], odd["missing_end"], backwards) == (11, 3, 7, 5)
    assert made.defects["clock_step"] > 200


def test_defects_of_each_kind_are_counted_and_in_the_file(tmp_path: Path) -> None:
    made = generate(truth(days=1, defects=DEFECTS), tmp_path / "history.csv")
    rows = pl.read_csv(tmp_path / "history.csv")
    assert rows.height - rows["Sid"].n_unique() == made.defects["duplicate"] == 11
    assert (rows["Duration"] < 0).sum() == made.defects["negative_duration"] == 5
    assert rows["EndTime"].null_count() == made.defects["missing_end"] == 7
    assert rows["StartTime"].str.starts_with("0000").sum() == made.defects["unparsable"] == 3
    starts = rows["StartTime"].str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).drop_nulls()
    assert starts.diff().dt.total_seconds().min() < -240
    json.dumps(made.to_json(), allow_nan=False)


def test_counts_are_the_attempts_and_refusals_of_their_intervals(tmp_path: Path) -> None:
    made = truth(days=2, format="counts", interval_s=360)
    summary = generate(made, tmp_path / "counts.csv")
    history = read_history(HistorySettings(path=tmp_path / "counts.csv"))
    assert history.interval_s == 360
    assert summary.rows == history.counts.height == 480
    assert history.attempts == summary.attempts
    assert history.counts["refused"].sum() == summary.refused > 0


def test_an_hour_that_daylight_saving_repeats_is_written_as_wall_clock_and_counted(tmp_path: Path) -> None:
    autumn = truth(first_day=date(2026, 10, 24), days=3, timezone="Europe/Berlin")
    summary = generate(autumn, tmp_path / "history.csv")
    # 02:00 to 03:00 comes twice; two hours at twelve a minute, and their redials.
    assert abs(summary.defects["ambiguous_time"] - 1440) < 1440 / 4
    assert abs(summary.fresh_calls - 73 * 720) < Z * math.sqrt(73 * 720)
    clear = generate(autumn.model_copy(update={"times": "offset"}), tmp_path / "clear.csv")
    assert clear.defects["ambiguous_time"] == 0
    first = pl.read_csv(tmp_path / "clear.csv")["StartTime"][0]
    assert (
        datetime.fromisoformat(first).utcoffset()
        == datetime(2026, 10, 24, tzinfo=ZoneInfo("Europe/Berlin")).utcoffset()
    )
    assert datetime.fromisoformat(first).astimezone(UTC).day == 23


def test_wall_clock_hours_keep_their_rate_when_the_clocks_change() -> None:
    at_noon = (tuple(30.0 if hour == 12 else 0.0 for hour in range(24)),) * 7
    spring = truth(first_day=date(2026, 3, 27), days=5, timezone="Europe/Berlin", hourly_per_minute=at_noon)
    first = datetime(2026, 3, 27, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    walls = {
        datetime.fromtimestamp(first + instant, ZoneInfo("Europe/Berlin")).hour for instant in fresh_instants(spring)
    }
    assert walls == {12}


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must end in"):
        generate(truth(days=1), tmp_path / "history.xlsx")
    with pytest.raises(InputError, match=r"only .* answered calls"):
        generate(truth(days=1, defects=Defects(duplicates=900_000)), tmp_path / "history.csv")
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        generate(truth(days=1), tmp_path / "taken" / "history.csv")


def test_a_customer_who_never_calls_has_an_empty_history(tmp_path: Path) -> None:
    nobody = truth(days=1, hourly_per_minute=(tuple([0.0] * 24),) * 7, holding=Constant(kind="constant", value_s=1))
    summary = generate(nobody, tmp_path / "history.csv")
    assert (summary.rows, summary.attempts, summary.mean_hold_s) == (0, 0, None)
    assert unrefused_attempts(nobody, fresh_instants(nobody)).is_empty()
