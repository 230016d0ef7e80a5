"""Every wrong row is counted under its kind, shown by its line, and handled as its oddity says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkproof.models.demand.history.cleaning import attempts_only, completed, with_durations, with_statuses
from trunkproof.models.demand.history.duplicates import single
from trunkproof.models.demand.history.oddities import KINDS, Ledger
from trunkproof.models.demand.history.order import without_far
from trunkproof.models.demand.history.settings import Columns
from trunkproof.models.demand.history.statuses import STATUS
from trunkproof.models.demand.history.table import History, Oddity

Read = Callable[..., History]
HEADING = "Sid,From,To,Direction,Status,StartTime,EndTime,Duration,ConversationDuration\n"
DAY = datetime(2024, 5, 6)


def row(
    number: int,
    at: str = "",
    *,
    ring_s: int = 10,
    talk_s: int = 120,
    status: str = "completed",
    sid: str | None = None,
    **other: str,
) -> str:
    start = datetime.fromisoformat(at) if at else DAY + timedelta(hours=9, minutes=number)
    end = start + timedelta(seconds=ring_s + talk_s)
    fields = {
        "sid": sid or f"s{number}",
        "caller": "+912012345678",
        "callee": f"+9170{number:08d}",
        "direction": "outbound-api",
        "status": status,
        "start": f"{start}",
        "end": f"{end}",
        "duration": str(ring_s + talk_s),
        "talk": str(talk_s),
    } | other
    return ",".join(fields.values()) + "\n"


def found(history: History) -> dict[str, Oddity]:
    return {oddity.kind: oddity for oddity in history.oddities if not oddity.kind.startswith("partial")}


def only(history: History) -> Oddity:
    (oddity,) = found(history).values()
    return oddity


GOOD = "".join(row(number) for number in range(1, 6))


def test_a_clean_history_has_no_oddities_but_its_short_days(read: Read) -> None:
    history = read(HEADING + GOOD)
    assert found(history) == {}
    assert history.attempts == 5


@pytest.mark.parametrize(
    ("kind", "wrong", "kept", "holding_s"),
    [
        ("unparsable", row(6, start="0000-00-00 00:00:00"), False, None),
        ("unparsable", "cut in the mid\n", False, None),
        ("unparsable", HEADING, False, None),
        ("unparsable", "\n", False, None),
        ("not_a_call", row(6, status="queued"), False, None),
        ("other_direction", row(6, direction="internal"), False, None),
        ("unknown_status", row(6, status="gone fishing"), True, 120.0),
        ("no_direction", row(6, direction=""), True, 120.0),
        ("no_number", row(6, caller="Anonymous"), True, 120.0),
        ("duplicate", row(5), False, None),
        ("duplicate", row(5, sid="another"), False, None),
        ("further_leg", row(6, sid="s5", status="busy", talk="0"), False, None),
        ("negative_duration", row(6, talk="-4"), True, None),
        ("negative_duration", row(6, duration="-131", talk="-121", end="2024-05-06 09:03:00"), True, None),
        ("end_before_start", row(6, end="2024-05-06 09:03:00"), True, 120.0),
        ("missing_end", row(6, end="", duration="", talk=""), True, None),
        ("missing_end", row(6, end="", duration="0", talk="0"), True, None),
        ("zero_length_answered", row(6, talk_s=0), True, 0.0),
        ("absurd_holding", row(6, talk_s=90_000), True, None),
    ],
)
def test_each_kind_is_counted_shown_and_handled(
    read: Read, kind: str, wrong: str, kept: bool, holding_s: float | None
) -> None:
    history = read(HEADING + GOOD + wrong)
    oddity = only(history)
    assert (oddity.kind, oddity.count, oddity.rows) == (kind, 1, (7,))
    assert oddity.what
    assert oddity.handled
    calls = history.calls
    assert calls is not None
    assert history.rows_read == 6
    assert calls.height == history.attempts == 5 + kept
    if kept:
        assert calls.filter(pl.col("row") == 7)["holding_s"].item() == holding_s


def test_of_the_legs_of_a_call_the_answered_one_is_kept(read: Read) -> None:
    legs = row(6, status="no-answer", talk="") + row(6, "2024-05-06 09:07:00") + row(6, status="busy", talk="")
    history = read(HEADING + GOOD + legs)
    calls = history.calls
    assert calls is not None
    assert calls.filter(pl.col("row") > 6)["row"].to_list() == [8]
    assert only(history).rows == (7, 9)


def test_refusals_redialled_within_a_second_are_no_duplicates(read: Read) -> None:
    again = "".join(row(6, sid=sid, ring_s=0, talk_s=0, status="failed") for sid in ("a", "b"))
    assert read(HEADING + GOOD + again).attempts == 7


def test_rows_without_identity_are_compared_by_what_they_say(read: Read) -> None:
    text = "began,a,b,talk,result\n"
    line = "2024-05-06 10:00:00,+912012345678,+917098765432,{},{}\n"
    columns = Columns(start="began", caller="a", callee="b", holding_s="talk", status="result")
    two = read(text + line.format(60, "answered") * 2, columns=columns)
    assert (found(two)["duplicate"].count, two.attempts) == (1, 1)
    assert read(text + line.format(60, "answered") + line.format(61, "answered"), columns=columns).attempts == 2


def test_talk_without_conversation_or_answer_includes_ringing_and_says_so(read: Read) -> None:
    text = HEADING.replace(",ConversationDuration", "") + "".join(
        ",".join(row(number).split(",")[:-1]) + "\n" for number in range(1, 6)
    )
    history = read(text)
    assert only(history).kind == "ringing_in_holding"
    calls = history.calls
    assert calls is not None
    assert calls["holding_s"].to_list() == [130.0] * 5
    assert calls["ringing_s"].null_count() == 5


def test_a_duration_that_is_talk_leaves_the_rest_to_ringing(read: Read) -> None:
    text = HEADING.replace(",ConversationDuration", "") + "".join(
        ",".join(row(number, duration="120").split(",")[:-1]) + "\n" for number in range(1, 6)
    )
    calls = read(text).calls
    assert calls is not None
    assert calls["holding_s"].to_list() == [120.0] * 5
    assert calls["ringing_s"].to_list() == [10.0] * 5


def test_without_a_status_talking_time_tells_who_was_answered(read: Read) -> None:
    columns = Columns(start="t", duration_s="d")
    history = read("t,d\n2024-05-06 10:00:00,60\n2024-05-06 10:01:00,0\n2024-05-06 10:02:00,1:02:03\n", columns=columns)
    calls = history.calls
    assert calls is not None
    assert calls["status"].to_list() == ["answered", "no_answer", "answered"]
    assert calls["holding_s"].to_list() == [60.0, None, 3723.0]


def test_the_request_says_which_words_are_refusals(read: Read) -> None:
    text = HEADING + GOOD + row(6, status="failed", talk="") + row(7, status="Over Quota", talk="")
    calls = read(text, refusal_words=("over-quota",)).calls
    assert calls is not None
    assert calls["status"].to_list()[5:] == ["rejected", "refused"]


def test_since_and_until_leave_days_out_and_say_how_many(read: Read) -> None:
    text = HEADING + "".join(row(day, f"2024-05-{day:02d} 10:00:00") for day in range(1, 11))
    history = read(text, since=date(2024, 5, 3), until=date(2024, 5, 8))
    assert history.attempts == 6
    assert history.days == 6
    oddity = found(history)["outside_period"]
    assert oddity.count == 4
    assert "4 days" in oddity.what


def test_what_the_period_leaves_nothing_of_is_told(problems: Callable[..., list[str]]) -> None:
    (said,) = problems(HEADING + GOOD, since=date(2030, 1, 1))
    assert "none of its 5 rows" in said


def test_a_history_of_calls_is_not_scaled(problems: Callable[..., list[str]]) -> None:
    assert problems(HEADING + GOOD, scale=2.0)[0].startswith("history.scale: only a history of counts can be scaled")


WRONG = [
    row(0, start="n/a"), row(0, status="queued"), row(0, talk="-9"), row(0, end=""), row(0, talk_s=0), "\n", "x\n",
    row(0, direction="internal"), row(1), row(1, status="busy", talk=""), row(0, caller=""), row(0, status="?"),
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.sampled_from([*WRONG, *(row(number) for number in range(2, 9))]), max_size=30))
def test_kept_rows_and_rows_left_out_are_all_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    from trunkproof.models.demand.history.reading import read_history
    from trunkproof.models.demand.history.settings import HistorySettings

    path = tmp_path_factory.mktemp("history") / "calls.csv"
    path.write_text(HEADING + row(9) + "".join(rows))
    history = read_history(HistorySettings(path=path))
    out = ("unparsable", "not_a_call", "other_direction", "duplicate", "further_leg", "far_outside", "outside_period")
    left_out = sum(oddity.count for oddity in history.oddities if oddity.kind in out)
    calls = history.calls
    assert calls is not None
    assert history.rows_read == len(rows) + 1
    assert calls.height + left_out == history.rows_read
    assert history.counts["attempts"].sum() == calls.height
    assert calls["start_utc"].is_sorted()


def test_the_steps_alone() -> None:
    start = pl.Series("start", [datetime(2024, 5, 6), None], dtype=pl.Datetime("us", "UTC"))
    bare = completed(pl.DataFrame({"row": [2, 3], "start": start}))
    ledger = Ledger()
    frame = with_statuses(attempts_only(bare, ledger), ledger, has_status=False, by_time=False)
    assert frame["status"].dtype == STATUS
    frame = without_far(with_durations(frame, ledger, has_end=False), ledger)
    assert frame["holding_s"].to_list() == [None]
    assert [oddity.kind for oddity in ledger.oddities] == ["unparsable"]


def test_without_numbers_nothing_but_an_identity_makes_a_duplicate() -> None:
    start = pl.Series([DAY] * 4).cast(pl.Datetime("us", "UTC"))
    status = pl.Series(["busy", "answered", "busy", "busy"], dtype=STATUS)
    frame = pl.DataFrame({"row": [1, 2, 3, 4], "start": start, "status": status, "id": [7, 7, None, None]})
    frame = completed(frame).with_columns(ringing_s=pl.lit(None, dtype=pl.Float64))
    ledger = Ledger()
    assert single(frame, ledger)["row"].to_list() == [2, 3, 4]
    assert [(oddity.kind, oddity.rows) for oddity in ledger.oddities] == [("further_leg", (1,))]


def test_a_ledger_adds_up_and_keeps_the_first_lines() -> None:
    ledger = Ledger()
    ledger.note("duplicate", 0)
    ledger.note("duplicate", 30, range(100, 110))
    ledger.note("duplicate", 2, [5, 6], what="more")
    (oddity,) = ledger.oddities
    assert oddity.count == 32
    assert oddity.rows == (5, 6, *range(100, 108))
    assert oddity.what == f"{KINDS['duplicate'][0]}; more"
