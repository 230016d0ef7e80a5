"""Numbers as people write them are read; what cannot be read is told as that, never as missing."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from trunkproof.models.demand.history.numbers import decimal_mark, number, seconds
from trunkproof.models.demand.history.table import History

Read = Callable[..., History]


def read_column(values: list[str | None], **how: bool) -> list[float | None]:
    frame = pl.DataFrame({"d": values}, schema={"d": pl.String})
    return frame.select(seconds("d", frame["d"], **how)).to_series().to_list()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["25", "1.5", " 7 "], [25.0, 1.5, 7.0]),
        (["25,0", "1,5", "0,25"], [25.0, 1.5, 0.25]),
        (["25", "1,234", "12,345"], [25.0, 1234.0, 12345.0]),
        (["25", "1.234"], [25.0, 1234.0]),
        (["1.234,5", "25,0"], [1234.5, 25.0]),
        (["1,234.5", "25"], [1234.5, 25.0]),
        (["1,23,456", "25"], [123456.0, 25.0]),
        (["1\u202f234", "1'234", "1 234"], [1234.0] * 3),
        (["12,345", "0,500"], [12.345, 0.5]),
        (["25s", "1,234s"], [25.0, 1234.0]),
        (["1:02:03", "2:05", "65"], [3723.0, 125.0, 65.0]),
        (["1899-12-31 00:02:05", "1900-01-01 02:00:04"], [125.0, 93604.0]),
        (["0 days 00:02:05"], [125.0]),
        (["lots", "nan", "", None, "1e400"], [None] * 5),
    ],
)
def test_durations_in_many_forms(values: list[str | None], expected: list[float | None]) -> None:
    assert read_column(values, any_form=True) == expected
    assert read_column(values) == expected


def test_a_late_decimal_comma_among_points_is_not_taken_for_thousands() -> None:
    sample = pl.Series("d", ["25", "26"])
    frame = pl.DataFrame({"d": ["25", "12,5", "1,234"]})
    assert decimal_mark(sample) == "."
    assert frame.select(number("d", ".")).to_series().to_list() == [25.0, None, 1234.0]


HEADING = "Sid;From;To;Direction;Status;StartTime;Duration;ConversationDuration\n"


def rows(*durations: str) -> str:
    return HEADING + "".join(
        f"s{n};+9120{n:08d};+9170{n:08d};inbound;completed;2026-05-04 10:{n:02d}:00;{written};{written}\n"
        for n, written in enumerate(durations)
    )


def test_unread_is_never_told_as_missing(read: Read) -> None:
    history = read(rows("60", "lots", "", "1.234", "n/a", "0"))
    told = {oddity.kind: oddity.rows for oddity in history.oddities if "partial" not in oddity.kind}
    assert told.pop("unread") == (3,)
    assert told.pop("missing_end") == (4, 6)
    assert told.keys() <= {"zero_length_answered"}
    assert history.calls is not None
    assert history.calls["holding_s"].to_list()[:2] == [60.0, None]


def test_a_number_in_groups_far_down_the_file_is_read(read: Read) -> None:
    text = HEADING + "".join(
        f"s{n};a{n};b{n};inbound;completed;2026-05-04 {n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d};60;60\n"
        for n in range(5001)
    )
    text += "x;a;b;inbound;completed;2026-05-04 10:00:00;1,234;1,234\n"
    history = read(text)
    assert history.calls is not None
    assert history.calls["holding_s"].max() == 1234.0
    assert "unread" not in {oddity.kind for oddity in history.oddities}
