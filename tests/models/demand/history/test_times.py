"""Forms of times, the hours of daylight time, and masked numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.demand.history.masking import Mask
from trunkproof.models.demand.history.table import History
from trunkproof.models.demand.history.times import forms_of, masked, reader
from trunkproof.models.demand.history.zones import changes, to_local, to_utc

Read = Callable[..., History]
IST = ZoneInfo("Asia/Kolkata")
MOMENT = datetime(2024, 5, 16, 10, 20, 30, tzinfo=IST)


@pytest.mark.parametrize(
    "pattern",
    [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S.%f",
        "%Y-%m-%dT%H:%M:%S%z",
        "%Y-%m-%dT%H:%M:%S.%f%z",
        "%Y-%m-%d %H:%M:%S %z",
        "%a, %d %b %Y %H:%M:%S %z",
        "%d/%m/%Y %H:%M:%S",
        "%m/%d/%Y %H:%M:%S",
        "%m/%d/%Y %I:%M:%S %p",
        "%d-%m-%Y %H:%M:%S",
        "%Y%m%d%H%M%S",
        "%s",
    ],
)
def test_forms_are_found_from_the_values(read: Read, pattern: str) -> None:
    written = f"{MOMENT.timestamp():.0f}" if pattern == "%s" else MOMENT.strftime(pattern)
    text = f"Sid;Status;StartTime;Duration\na;completed;{written};60\nb;busy;{written};0\n"
    calls = read(text).calls
    assert calls is not None
    assert calls["start_utc"].to_list() == [MOMENT, MOMENT]
    assert calls["start_local"].to_list() == [MOMENT.replace(tzinfo=None)] * 2


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1e3), ("us", 1e6)])
def test_epochs_in_finer_units(read: Read, unit: str, factor: float) -> None:
    text = f"uuid,start_uepoch,hangup_cause,billsec\na,{MOMENT.timestamp() * factor:.0f},NORMAL_CLEARING,9\n"
    calls = read(text).calls
    assert calls is not None, unit
    assert calls["start_utc"].to_list() == [MOMENT]


def test_z_and_offsets_may_stand_in_one_file(read: Read) -> None:
    times = ("2024-05-16T04:50:30Z", "2024-05-16T10:20:30+05:30", "2024-05-16 10:20:30")
    text = "Sid,Status,StartTime\n" + "".join(f"{i},busy,{time}\n" for i, time in enumerate(times))
    calls = read(text).calls
    assert calls is not None
    assert calls["start_utc"].to_list() == [MOMENT] * 3


def test_day_and_month_are_told_apart_by_the_whole_file(read: Read) -> None:
    head = "Sid,Status,StartTime,Duration\n"
    many = "".join(f"s{i},busy,05/06/2024 10:00:00,0\n" for i in range(6000))
    for last, month in (("06/13/2024", 5), ("13/06/2024", 6)):
        history = read(head + many + f"x,busy,{last} 10:00:00,0\n")
        assert history.calls is not None
        assert history.calls["start_local"].dt.month().to_list().count(month) >= 6000
        assert "day_before_month" not in {oddity.kind for oddity in history.oddities}
    history = read(head + many)
    assert history.calls is not None
    assert history.calls["start_local"][0] == datetime(2024, 6, 5, 10)
    assert "day_before_month" in {oddity.kind for oddity in history.oddities}


def test_a_value_that_is_no_time_has_no_form() -> None:
    assert forms_of(pl.Series(["hello", "", None, "99"])) == ()
    assert masked(["Asha 98-12", "Asha 97-13"]) == "`aaaa 99-99`"
    frame = pl.DataFrame({"t": ["2024-05-16 10:20:30", "x"]})
    assert frame.select(reader("t", pl.String(), forms_of(frame["t"]), "UTC"))["t"].null_count() == 1


BERLIN = "Europe/Berlin"


def local(*times: str) -> pl.Series:
    return pl.Series("start", [datetime.fromisoformat(time) for time in times], dtype=pl.Datetime("us"))


def test_changes_of_a_zone() -> None:
    found = list(changes(ZoneInfo(BERLIN), datetime(2024, 1, 1), datetime(2024, 12, 31)))
    assert [change.utc for change in found] == [datetime(2024, 3, 31, 1), datetime(2024, 10, 27, 1)]
    assert [change.is_fold for change in found] == [False, True]
    assert list(changes(IST, datetime(2000, 1, 1), datetime(2024, 1, 1))) == []


def test_the_hour_that_is_left_out_is_read_as_before_the_change() -> None:
    converted = to_utc(local("2024-03-31 01:59:00", "2024-03-31 02:30:00", "2024-03-31 03:00:00"), BERLIN)
    assert converted.utc.dt.strftime("%H:%M").to_list() == ["00:59", "01:30", "01:00"]
    assert converted.in_gap is not None
    assert converted.in_gap.to_list() == [False, True, False]


def test_the_hour_that_is_there_twice_is_told_apart_by_the_order_of_the_file() -> None:
    times = ("01:30", "02:10", "02:50", "02:05", "02:55", "03:10")
    converted = to_utc(local(*(f"2024-10-27 {time}:00" for time in times)), BERLIN)
    assert converted.utc.dt.strftime("%d %H:%M").to_list() == [
        "26 23:30", "27 00:10", "27 00:50", "27 01:05", "27 01:55", "27 02:10"
    ]  # fmt: skip
    assert converted.in_fold is not None
    assert converted.in_fold.sum() == 4
    without_fall = to_utc(local("2024-10-27 02:10:00", "2024-10-27 02:20:00"), BERLIN)
    assert without_fall.utc.dt.hour().to_list() == [0, 0]


def test_doubtful_hours_are_counted(read: Read) -> None:
    rows = "".join(f"s{i},busy,2024-{day} 02:30:0{i},0\n" for i, day in enumerate(("03-31", "10-27", "07-01")))
    kinds = {o.kind: o.rows for o in read("Sid,Status,StartTime,Duration\n" + rows, timezone=BERLIN).oddities}
    assert kinds["daylight_gap"] == (2,)
    assert kinds["daylight_fold"] == (3,)


@given(
    st.lists(st.datetimes(datetime(2019, 1, 1), datetime(2026, 1, 1)), min_size=1, max_size=50),
    st.sampled_from([BERLIN, "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "Asia/Jerusalem", "UTC"]),
)
def test_wall_clock_comes_back_unless_it_never_was(times: list[datetime], timezone: str) -> None:
    column = pl.Series("start", sorted(times), dtype=pl.Datetime("us"))
    converted = to_utc(column, timezone)
    back = pl.DataFrame({"t": converted.utc}).select(to_local("t", timezone)).to_series()
    in_gap = converted.in_gap if converted.in_gap is not None else pl.Series([False] * len(times))
    moved = (back != column).to_list()
    assert moved == in_gap.to_list()
    assert ((back - column).filter(in_gap) <= timedelta(hours=1)).all()


def test_numbers_are_masked_with_keys_that_differ_between_readings(read: Read) -> None:
    text = "Sid,Status,StartTime,From,To\na,busy,2024-05-16 10:20:30,+912012345678,+917098765432\n"
    text += "b,busy,2024-05-16 10:21:30, +912012345678 ,anonymous\n"
    first, second = read(text).calls, read(text).calls
    assert first is not None
    assert second is not None
    assert first["caller"][0] == first["caller"][1]
    assert first["callee"].to_list()[1] is None
    assert first["caller"][0] != second["caller"][0]
    assert first["caller"].dtype == pl.UInt64


@given(st.lists(st.text("0123456789+", min_size=1), unique=True, max_size=50))
def test_a_mask_keeps_numbers_apart(numbers: list[str]) -> None:
    mask = Mask()
    frame = pl.DataFrame({"n": numbers}, schema={"n": pl.String}).with_columns(m=mask.number("n"), i=mask.identity("n"))
    assert frame["m"].n_unique() == len(numbers)
    assert frame["m"].equals(frame["i"])
    assert repr(mask) == "<Mask>"
