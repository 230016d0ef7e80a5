"""Steps of the clock, rows far away, days cut short or empty."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from trunkproof.models.demand.history.days import inside_period, span
from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History, Oddity

Read = Callable[..., History]
HEADING = "start,answer,end,duration,billsec,disposition,src,dst,uniqueid\n"
MONDAY = datetime(2024, 5, 6)


def line(number: int, start: datetime, talk_s: int = 60) -> str:
    answer, end = start + timedelta(seconds=5), start + timedelta(seconds=5 + talk_s)
    return f"{start},{answer},{end},{5 + talk_s},{talk_s},ANSWERED,100,{number},u{number}\n"


def kinds(history: History) -> dict[str, Oddity]:
    return {oddity.kind: oddity for oddity in history.oddities if oddity.kind != "no_direction"}


def by_end(count: int = 400) -> list[tuple[datetime, int]]:
    """Starts and talking times, in the order in which calls end; some are an hour long."""
    rng = np.random.default_rng(5)
    calls = [(MONDAY + timedelta(hours=8, seconds=60 * i), int(rng.choice([30, 90, 3600]))) for i in range(count)]
    return sorted(calls, key=lambda call: call[0] + timedelta(seconds=call[1]))


def test_the_order_in_which_calls_end_is_no_step_of_the_clock(read: Read) -> None:
    for calls in (by_end(), by_end()[::-1], sorted(by_end())):
        history = read(HEADING + "".join(line(i, *call) for i, call in enumerate(calls)))
        assert kinds(history).keys() <= {"partial_first_day", "partial_last_day"}


def test_a_clock_set_back_is_found_where_it_was(read: Read) -> None:
    back = timedelta(minutes=30)
    calls = [(at - back if i >= 200 else at, talk) for i, (at, talk) in enumerate(by_end())]
    oddity = kinds(read(HEADING + "".join(line(i, *call) for i, call in enumerate(calls))))["clock_step"]
    assert (oddity.count, oddity.rows) == (1, (202,))


def test_a_single_late_row_is_out_of_order_and_no_step(read: Read) -> None:
    calls = sorted(by_end())
    calls.insert(300, calls.pop(100))
    found = kinds(read(HEADING + "".join(line(i, *call) for i, call in enumerate(calls))))
    assert "clock_step" not in found
    assert found["out_of_order"].rows == (302,)


def test_a_shuffled_file_says_that_steps_cannot_be_seen(read: Read) -> None:
    calls = by_end()
    order = np.random.default_rng(1).permutation(len(calls))
    history = read(HEADING + "".join(line(int(i), *calls[i]) for i in order))
    assert "unordered" in kinds(history)
    assert history.calls is not None
    assert history.calls["start_utc"].is_sorted()


def week(skip: tuple[int, ...] = (), first_hour: int = 0, last_hour: int = 24) -> list[str]:
    rows = []
    for day in range(14):
        for hour in range(24):
            cut = (day == 0 and hour < first_hour) or (day == 13 and hour >= last_hour)
            if day not in skip and not cut:
                start = MONDAY + timedelta(days=day, hours=hour)
                rows += [line(1000 * day + 40 * hour + minute, start + timedelta(minutes=minute)) for minute in (0, 30)]
    return rows


def test_whole_days_are_counted_from_midnight_to_midnight(read: Read) -> None:
    history = read(HEADING + "".join(week()))
    assert kinds(history) == {}
    assert history.counts.height == 14 * 1440
    assert history.counts["start_local"][0] == MONDAY
    assert history.days == 14


def test_days_cut_short_are_told_and_not_filled_with_zeros(read: Read) -> None:
    history = read(HEADING + "".join(week(first_hour=10, last_hour=15)))
    found = kinds(history)
    assert found.keys() == {"partial_first_day", "partial_last_day"}
    assert "2024-05-06 from 10:00" in found["partial_first_day"].what
    assert history.counts["start_local"][0] == MONDAY + timedelta(hours=10)
    assert history.counts["start_local"][-1] == MONDAY + timedelta(days=13, hours=14, minutes=30)


def test_a_period_of_the_request_makes_no_day_partial(read: Read) -> None:
    rows = HEADING + "".join(week(first_hour=10))
    assert "partial_first_day" not in kinds(read(rows, since=date(2024, 5, 6)))


def test_days_without_calls_are_counted_and_listed(read: Read) -> None:
    oddity = kinds(read(HEADING + "".join(week(skip=(4, 5)))))["days_without_calls"]
    assert oddity.count == 2
    assert "2024-05-10, 2024-05-11" in oddity.what


def test_a_few_rows_years_away_do_not_stretch_the_history(read: Read) -> None:
    far = [line(90_001, datetime(1980, 1, 1)), line(90_002, datetime(2038, 1, 19))]
    history = read(HEADING + "".join(week() + far))
    assert kinds(history)["far_outside"].rows == (674, 675)
    assert history.days == 14


def test_two_parts_of_a_history_with_a_pause_between_stay(read: Read) -> None:
    later = [text.replace("2024-05", "2024-08").replace(",u", ",v") for text in week()]
    history = read(HEADING + "".join(week() + later))
    assert kinds(history).keys() == {"days_without_calls"}
    assert history.attempts == 4 * 24 * 14


def test_closed_days_are_passed_on(read: Read) -> None:
    assert read(HEADING + "".join(week()), closed=(date(2024, 5, 9),)).closed == (date(2024, 5, 9),)


def test_steps_are_seen_in_a_file_that_knows_no_ends(read: Read) -> None:
    times = [MONDAY + timedelta(hours=8, seconds=30 * i - (1800 if i >= 50 else 0)) for i in range(100)]
    history = read("Sid,Status,StartTime\n" + "".join(f"s{i},busy,{time}\n" for i, time in enumerate(times)))
    assert kinds(history)["clock_step"].rows == (52,)


def test_a_weekend_is_compared_with_weekends_only() -> None:
    """Saturday opens in the evening, and is whole all the same."""
    opens = {5: 20, 6: 9}
    starts = [
        MONDAY + timedelta(days=day, hours=hour) for day in range(5, 20) for hour in range(opens.get(day % 7, 0), 24)
    ]
    rows = pl.DataFrame({"row": range(len(starts)), "start_local": pl.Series(starts, dtype=pl.Datetime("us"))})
    ledger = Ledger()
    asked = HistorySettings(path=Path("x.csv"), until=date(2024, 5, 24))
    begin, end = span(inside_period(rows, asked, ledger), asked, ledger)
    assert (begin, end) == (MONDAY + timedelta(days=5), MONDAY + timedelta(days=19))
    assert [oddity.kind for oddity in ledger.oddities] == ["outside_period"]
