"""New histories of known truth against forecasts of it: as forecast, better, worse, otherwise, and too short."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trunkproof.experiments.histories.calls import ANSWERED, REFUSED
from trunkproof.experiments.histories.generate import generate, made_attempts
from trunkproof.experiments.histories.truth import Truth
from trunkproof.experiments.review.periods.busy import BusyPeriod
from trunkproof.experiments.review.periods.observed import OBSERVED, by_hour, by_period
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.score.score import Advice, Verdict, score
from trunkproof.experiments.review.words.rollout import HOURS_TO_HALT, HOURS_WATCHED
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History
from trunkproof.models.distributions import Lognormal
from trunkproof.models.errors import InputError
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.traffic import Outcomes, Redial

Z = 4.5
RATES = [[5.0 + 15.0 * (hour == 10) for hour in range(24)] for _ in range(5)] + [[5.0] * 24] * 2
LIMIT = 20
PERIOD = BusyPeriod((0, 1, 2, 3, 4), 36_000.0, 3600.0, 21.0)


def truth(**changed: Any) -> Truth:
    values: dict[str, Any] = {
        "name": "after the raise",
        "seed": 5,
        "first_day": date(2026, 3, 2),
        "days": 21,
        "hourly_per_minute": RATES,
        "holding": Lognormal(kind="lognormal", mean_s=60, cv=1),
        "outcomes": Outcomes(busy=0.1, no_answer=0.1),
        "redial": Redial(
            probability=0.5, delay=Lognormal(kind="lognormal", mean_s=40, cv=0.5), obeys_retry_after=False
        ),
        "throttle": FixedWindow(limit=LIMIT),
    }
    return Truth.model_validate(values | changed)


def history(folder: Path, made: Truth) -> History:
    path = folder / f"{made.seed}_{made.days}.parquet"
    generate(made, path)
    return read_history(HistorySettings(path=path))


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """In which 95 % of 250 busy hours of the same truth lie."""
    forenoon = [[rate if 9 <= hour <= 10 else 0.0 for hour, rate in enumerate(day)] for day in RATES]
    folder = tmp_path_factory.mktemp("bands")
    seen = by_hour(history(folder, truth(seed=99, days=350, hourly_per_minute=forenoon)))
    busy = seen.filter((pl.col("began").dt.hour() == 10) & (pl.col("began").dt.weekday() <= 5))
    assert busy.height == 250
    names = ("refused_share", "customers_lost_share", "attempts", "peak_concurrency")
    return {
        name: dict(zip(("low", "value", "high"), np.quantile(busy[name], [0.025, 0.5, 0.975]).tolist(), strict=True))
        for name in names
    } | {"srd_p95_ms": {"low": 5.0, "value": 6.0, "high": 7.0}}


def forecast(day_cv: float = 0.0) -> dict[str, Any]:
    """What nine of ten hours and days of the truth keep to: 2,000 drawn of each, the truth's own rates known."""
    dice, first = np.random.default_rng(7), datetime(2026, 3, 2)
    tables: dict[str, dict[str, list[Any]]] = {
        what: {name: [] for name in ("start_local", "expected", "low", "high")} for what in ("hours", "days")
    }

    def note(what: str, began: str, drawn: np.ndarray) -> None:
        low, high = np.quantile(drawn, [0.05, 0.95], method="inverted_cdf")
        row = (began, float(drawn.mean()), float(low), float(high))
        for column, value in zip(tables[what].values(), row, strict=True):
            column.append(value)

    for day in range(21):
        began, rates = first + timedelta(days=day), 60 * np.array(RATES[day % 7])
        factors = dice.gamma(day_cv**-2, day_cv**2, 2000) if day_cv else np.ones(2000)
        drawn = dice.poisson(factors[:, None] * rates)
        note("days", f"{began:%Y-%m-%d}", drawn.sum(axis=1))
        for hour in range(24):
            note("hours", f"{began + timedelta(hours=hour):%Y-%m-%dT%H:%M}", drawn[:, hour])
    return {"asked": 0.9, "counted": "fresh calls", **tables}


def decision(bands: dict[str, dict[str, float]]) -> dict[str, Any]:
    step = {"per_minute": LIMIT, "days": 7, "bands": bands, "halt": "when it is worse"}
    return {
        "now_per_minute": 10,
        "busy_hour": {
            "periods": [asdict(PERIOD)],
            "fresh_per_minute": {"value": 20.0, "low": 19.0, "high": 21.0},
        },
        "rollout": [step, step | {"per_minute": 30}],
        "fit": {
            "mean_hold_s": {"value": 60.0, "low": 59.5, "high": 60.5},
        },
        "history": {"days": 7000},
        "forecast": forecast(),
    }


REQUEST = Request(
    name="a raise", history=HistorySettings(path=Path("new.csv")), now_per_minute=10, requested_per_minute=30
)


def test_a_history_of_the_forecast_truth_is_as_forecast(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    found = score(decision(bands), history(tmp_path, truth()), REQUEST)
    assert (found.verdict, found.advice, found.next_per_minute) == (Verdict.AS_FORECAST, Advice.GO_ON, 30)
    assert "go on to 30 per minute" in found.said
    assert found.busy_hours.height == 15
    by_name = {band.kpi: band for band in found.bands}
    assert by_name["srd_p95_ms"].kept is None
    for name in ("refused_share", "customers_lost_share", "attempts", "peak_concurrency"):
        band = by_name[name]
        assert band.hours == 15 == band.inside + band.above + band.below
        assert band.kept
    # Independent hours: with nothing between them but chance, the share inside is binomial.
    coverage = found.coverage
    assert coverage.counted == "fresh calls"
    assert coverage.hours.height == 21 * 24
    assert abs(coverage.seen_by_hour - 0.9) < Z * math.sqrt(0.09 / (21 * 24))  # type: ignore[operator]
    assert coverage.days.height == 21
    assert coverage.seen_by_day >= 0.9 - Z * math.sqrt(0.09 / 21)  # type: ignore[operator]
    json.dumps(found.to_json(), allow_nan=False)


def test_coverage_falls_where_days_differ_and_the_forecast_does_not_know(
    tmp_path: Path, bands: dict[str, dict[str, float]]
) -> None:
    uneven = history(tmp_path, truth(day_cv=0.3))
    unaware = score(decision(bands), uneven, REQUEST).coverage
    told = decision(bands)
    told["forecast"] = forecast(day_cv=0.3)
    aware = score(told, uneven, REQUEST).coverage
    assert unaware.seen_by_day < 0.5 < aware.seen_by_day  # type: ignore[operator]
    assert unaware.seen_by_hour < aware.seen_by_hour  # type: ignore[operator]


def test_more_demand_than_forecast_halts_the_raise(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    more = [[1.5 * rate for rate in day] for day in RATES]
    found = score(decision(bands), history(tmp_path, truth(hourly_per_minute=more)), REQUEST)
    assert (found.verdict, found.advice) == (Verdict.WORSE, Advice.HALT)
    assert "attempts refused above the band in 15 of 15" in found.said
    assert {"refused_share", "attempts"} <= set(found.busy_hours["outside"][0])


def test_the_rule_halts_at_the_second_bad_hour_of_the_first_five(
    tmp_path: Path, bands: dict[str, dict[str, float]]
) -> None:
    seen = history(tmp_path, truth(days=7))
    refused = by_hour(seen).filter(pl.col("began").dt.hour() == 10)["refused_share"].head(HOURS_WATCHED).sort()
    for bad, advice in ((HOURS_TO_HALT, Advice.HALT), (HOURS_TO_HALT - 1, Advice.GO_ON)):
        top = float(refused[HOURS_WATCHED - bad] + refused[HOURS_WATCHED - bad - 1]) / 2
        only = {"refused_share": {"low": 0.0, "value": 0.1, "high": top}}
        found = score(decision(only), seen, REQUEST)
        assert found.bands[0].above_at_first == bad
        assert found.advice is advice


def test_fewer_refusals_than_forecast_are_better(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    shares = {name: bands[name] for name in ("refused_share", "customers_lost_share")}
    found = score(decision(shares), history(tmp_path, truth(throttle=NoThrottle())), REQUEST, per_minute=30)
    assert (found.verdict, found.advice, found.next_per_minute) == (Verdict.BETTER, Advice.GO_ON, None)
    assert "the raise is complete at 30 per minute" in found.said


def test_calls_that_hold_longer_ask_for_another_review(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    longer = truth(holding=Lognormal(kind="lognormal", mean_s=120, cv=1))
    found = score(decision(bands), history(tmp_path, longer), REQUEST)
    assert (found.verdict, found.advice) == (Verdict.OTHER, Advice.REVIEW_AGAIN)
    assert found.hold is not None
    assert found.hold.differs
    seen = found.hold.seen
    assert abs(seen.value - 120) < Z * (seen.high - seen.low) / (2 * 1.96)
    assert f"calls hold {seen.value:.0f} s instead of 60 s" in found.said
    assert "calls at once, peak above the band in 15 of 15" in found.said


def test_too_few_busy_hours_are_waited_for(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    found = score(decision(bands), history(tmp_path, truth(days=3)), REQUEST)
    assert found.advice is Advice.WAIT
    weekend = truth(first_day=date(2026, 3, 7), days=2)
    nothing = score(decision(bands), history(tmp_path, weekend), REQUEST)
    assert (nothing.verdict, nothing.advice) == (Verdict.CANNOT_TELL, Advice.WAIT)
    json.dumps(nothing.to_json(), allow_nan=False)


def test_without_a_raise_the_forecast_is_scored_all_the_same(
    tmp_path: Path, bands: dict[str, dict[str, float]]
) -> None:
    seen = history(tmp_path, truth(days=2))
    days = [
        {"start_local": f"2026-03-0{day}T00:00:00", "expected": 8000.0, "low": low, "high": 1e6}
        for day, low in ((2, 0.0), (3, 9e5))
    ]
    forecast = {"asked": 0.9, "counted": "fresh calls", "hours": days[:1], "days": days}
    found = score(decision(bands) | {"rollout": [], "forecast": forecast}, seen, REQUEST)
    assert (found.per_minute, found.bands, found.advice) == (10, (), Advice.NONE)
    assert found.said == (
        "2 judged periods at 10 calls per minute: cannot tell; no raise was advised, so there are no bands to keep. "
        "Demand of the judged periods is not known yet; the forecast is 20.0 (19.0 to 21.0) fresh calls a minute. "
        "Of fresh calls, 100 % of 1 hour and 50 % of 2 days lie in their forecast intervals (asked 90 %)."
    )


def stayed(bands: dict[str, dict[str, float]], refused: dict[str, dict[str, float]]) -> dict[str, Any]:
    """A decision without a raise, at 20 a minute; `refused`: interpretation -> band of the refused share."""
    interpretations = {
        name: {"points": [{"per_minute": LIMIT, "busy_hours": {"refused_share": band}}]}
        for name, band in refused.items()
    }
    return decision(bands) | {"rollout": [], "now_per_minute": LIMIT, "per_interpretation": interpretations}


def test_a_throttle_that_stayed_is_scored_by_demand_and_by_the_interpretations_that_still_fit(
    tmp_path: Path, bands: dict[str, dict[str, float]]
) -> None:
    seen, fitting = history(tmp_path, truth()), bands["refused_share"]
    none, far = {"low": 0.0, "value": 0.0, "high": 0.001}, {"low": 0.9, "value": 0.95, "high": 1.0}
    found = score(stayed(bands, {"fixed_window": fitting, "token_bucket": far}), seen, REQUEST)
    assert (found.verdict, found.advice, found.per_minute) == (Verdict.AS_FORECAST, Advice.NONE, LIMIT)
    assert found.demand.held
    assert [one.fits for one in found.interpretations] == [True, False]
    assert "which fits fixed window and no other interpretation" in found.said
    assert "The judged periods brought" in found.said
    json.dumps(found.to_json(), allow_nan=False)
    worse = score(stayed(bands, {"fixed_window": none}), seen, REQUEST)
    assert (worse.verdict, worse.advice) == (Verdict.WORSE, Advice.REVIEW_AGAIN)
    assert "which fits no interpretation of the throttle: fixed window 0.00 to 0.10 %" in worse.said


def test_a_decision_of_an_earlier_version_is_scored_alike(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    seen, far = history(tmp_path, truth()), {"low": 0.9, "value": 0.95, "high": 1.0}
    saved = stayed(bands, {"fixed_window": bands["refused_share"], "token_bucket": far})
    former = {"per_reading" if key == "per_interpretation" else key: value for key, value in saved.items()}
    found = score(former, seen, REQUEST)
    assert [one.fits for one in found.interpretations] == [True, False]
    assert found.said == score(saved, seen, REQUEST).said


def test_demand_beyond_its_forecast_asks_for_another_review(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    seen = history(tmp_path, truth())
    lower = decision(bands) | {"rollout": []}
    lower["busy_hour"] = lower["busy_hour"] | {"fresh_per_minute": {"value": 10.0, "low": 9.0, "high": 11.0}}
    found = score(lower, seen, REQUEST)
    assert (found.verdict, found.advice) == (Verdict.OTHER, Advice.REVIEW_AGAIN)
    assert found.demand.is_higher
    # 15 periods of some 1,200 calls.
    assert found.demand.seen is not None
    assert abs(found.demand.seen.value - 20) < Z * 20 / math.sqrt(15 * 1200)
    # What may have grown to twice as much is no surprise.
    assert score(lower, seen, REQUEST.model_copy(update={"growth": 0.5})).demand.held


def test_periods_need_not_begin_at_the_full_hour(tmp_path: Path) -> None:
    made = truth(days=3)
    seen = by_period(history(tmp_path, made), [BusyPeriod((0, 2), 35_700.0, 3600.0, 21.0)])
    assert seen["began"].to_list() == [datetime(2026, 3, 2, 9, 55), datetime(2026, 3, 4, 9, 55)]
    attempts = made_attempts(made)
    for day, row in zip((0, 2), seen.to_dicts(), strict=True):
        begin = 86_400 * day + 35_700
        # The file has whole seconds.
        here = attempts.filter((pl.col("at_s").floor() >= begin) & (pl.col("at_s").floor() < begin + 3600))
        assert row["attempts"] == here.height
        assert row["refused_share"] == pytest.approx((here["status"] == REFUSED).mean())


def test_an_interval_that_lies_in_a_period_in_part_counts_in_part(tmp_path: Path) -> None:
    counts = pl.DataFrame({"start_local": [datetime(2026, 3, 2, hour) for hour in range(24)], "attempts": range(24)})
    counts = counts.with_columns(
        refused=pl.col("attempts") // 2, start_utc=pl.col("start_local").dt.replace_time_zone("UTC")
    )
    hourly = History("made", "counts", "UTC", 24, None, counts, 3600.0)
    (row,) = by_period(hourly, [BusyPeriod((0,), 35_700.0, 3600.0, 21.0)]).to_dicts()
    assert row["attempts"] == pytest.approx(9 * 5 / 60 + 10 * 55 / 60)
    assert row["calls"] is None


def test_a_decision_without_judged_periods_is_refused(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    old = decision(bands) | {"busy_hour": {"hours": "Monday 10:00"}}
    with pytest.raises(InputError, match=r"busy_hour\.periods: are no judged periods"):
        score(old, history(tmp_path, truth(days=1)), REQUEST)


def test_a_decision_that_says_nothing_about_it_is_refused(tmp_path: Path, bands: dict[str, dict[str, float]]) -> None:
    seen = history(tmp_path, truth(days=1))
    with pytest.raises(InputError, match="5 problems"):
        score({}, seen, REQUEST)
    with pytest.raises(InputError, match="25 calls per minute is no step; there are 20, 30"):
        score(decision(bands), seen, REQUEST, per_minute=25)


def test_hours_show_what_was_generated(tmp_path: Path) -> None:
    made = truth(days=2)
    seen = by_hour(history(tmp_path, made)).filter(pl.col("began").dt.hour() == 10)
    attempts = made_attempts(made).with_columns(hour=(pl.col("at_s") // 3600).cast(pl.Int64))
    first = attempts.select("call", "attempt", "status", "at_s", "hour").sort("call", "attempt")
    callers = first.group_by("call").agg(pl.col("hour").first(), pl.col("status").last())
    for day, row in enumerate(seen.to_dicts()):
        hour = 24 * day + 10
        here = attempts.filter(pl.col("hour") == hour)
        fresh = callers.filter(pl.col("hour") == hour)
        assert row["began"] == datetime(2026, 3, 2 + day, 10)
        assert row["attempts"] == here.height
        assert row["refused_share"] == pytest.approx((here["status"] == REFUSED).mean())
        assert row["calls"] == fresh.height
        assert row["customers_lost_share"] == pytest.approx((fresh["status"] == REFUSED).mean())
        assert row["peak_concurrency"] == _peak(attempts, hour)


def _peak(attempts: pl.DataFrame, hour: int) -> int:
    """Second by second, as the file has whole ones."""
    up = attempts.filter(pl.col("status") == ANSWERED)
    begin = (up["at_s"] + up["ring_s"]).floor().to_numpy()
    end = (up["at_s"] + up["ring_s"] + up["hold_s"]).floor().to_numpy()
    return max(int(((begin <= second) & (second < end)).sum()) for second in range(3600 * hour, 3600 * (hour + 1)))


def test_a_history_of_counts_shows_attempts_and_refusals_only(
    tmp_path: Path, bands: dict[str, dict[str, float]]
) -> None:
    generate(truth(format="counts"), tmp_path / "counts.csv")
    counts = read_history(HistorySettings(path=tmp_path / "counts.csv"))
    seen = by_hour(counts)
    assert {name for name in OBSERVED if seen[name].null_count() < seen.height} == {"attempts", "refused_share"}
    found = score(decision(bands), counts, REQUEST)
    assert found.hold is None
    assert found.coverage.counted == "attempts"
    assert {band.kpi: band.kept for band in found.bands}["refused_share"] is True
    assert {band.kpi: band.kept for band in found.bands}["peak_concurrency"] is None


def test_closed_days_and_hours_seen_in_part_do_not_count(tmp_path: Path) -> None:
    generate(truth(days=3), tmp_path / "history.csv")
    settings = HistorySettings(path=tmp_path / "history.csv", closed=(date(2026, 3, 3),))
    seen = by_hour(read_history(settings))
    days = set(seen["began"].dt.date())
    assert days == {date(2026, 3, 2), date(2026, 3, 4)}
    assert seen["began"].diff().drop_nulls().max() == timedelta(hours=25)
