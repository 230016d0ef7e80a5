"""A history of several customers is told and not reviewed as one; `where` chooses rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from trunkproof.models.demand.history.table import History

Read = Callable[..., History]
Problems = Callable[..., list[str]]
FIRST = datetime(2026, 5, 4, 10)


def calls(column: str, values: list[str], rows: int = 30) -> str:
    lines = [f"Sid,{column},From,To,Direction,Status,StartTime,Duration\n"]
    for n in range(rows):
        start = FIRST + timedelta(minutes=n)
        lines.append(f"s{n},{values[n % len(values)]},0{9000000000 + n},0804710000{n % 3},inbound,busy,{start},0\n")
    return "".join(lines)


@pytest.mark.parametrize("column", ["AccountSid", "accountcode", "TrunkSid", "customer_id"])
def test_several_owners_are_refused_with_their_counts_and_the_line_to_write(problems: Problems, column: str) -> None:
    (said,) = problems(calls(column, ["acme", "acme", "umbra"]))
    assert said.startswith("history.where: ")
    assert f"by `{column}`: acme (20 rows), umbra (10 rows)" in said
    assert f"`where: {{{column}: acme}}`" in said
    assert "mixed: as_one" in said


def test_numbers_of_owners_are_masked(problems: Problems) -> None:
    (said,) = problems(calls("AccountCode", ["+918047100001", "+918047100002"]))
    assert "+9*********01 (15 rows)" in said
    assert "8047" not in said


def test_as_one_is_told_all_the_same(read: Read) -> None:
    history = read(calls("AccountSid", ["acme", "umbra"]), mixed="as_one")
    assert history.attempts == 30
    (oddity,) = (oddity for oddity in history.oddities if oddity.kind == "mixed_owners")
    assert "acme (15 rows)" in oddity.what


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"AccountSid": "acme"}, 15),
        ({"accountsid": ["acme", "other"]}, 15),
        ({"AccountSid": ["acme", "umbra"]}, 30),
        ({"AccountSid": "umbra", "To": "08047100001"}, 5),
    ],
)
def test_where_keeps_the_rows_that_fit_all_columns(read: Read, where: dict[str, object], kept: int) -> None:
    history = read(calls("AccountSid", ["acme", "umbra"]), where=where)
    assert history.attempts == kept
    assert history.rows_read == 30
    assert {o.kind: o.count for o in history.oddities}.get("outside_where", 0) == 30 - kept


def test_where_that_leaves_nothing_says_what_there_is(problems: Problems) -> None:
    (said,) = problems(calls("AccountSid", ["acme", "umbra"]), where={"AccountSid": "Acme"})
    assert said.startswith("history.where.AccountSid: no row matches; the first rows have acme (15 rows), umbra")
    (said,) = problems(calls("AccountSid", ["acme"]), where={"Acount": "acme"})
    assert "history.where.Acount: the file has no column `Acount`; did you mean `AccountSid`?" in said
    (said,) = problems(calls("AccountSid", ["acme"]), where={"From": "1"})
    assert "09*******" in said


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("AccountSid", ["acme"]),
        ("accountcode", ["", "acme"]),
        ("FlowId", ["a", "b"]),
        ("PhoneNumber", ["a", "b"]),
    ],
)
def test_ordinary_columns_are_nobodys(read: Read, column: str, values: list[str]) -> None:
    assert read(calls(column, values)).attempts == 30


def test_a_single_typing_error_makes_no_second_customer(read: Read) -> None:
    assert read(calls("AccountSid", ["acme"] * 299 + ["acne"], rows=300)).attempts == 300


def test_an_account_that_is_the_telephones_own_number_tells_no_customers_apart(read: Read) -> None:
    lines = ["accountcode,src,dst,channel,dstchannel,calldate,duration,billsec,disposition,uniqueid\n"]
    for n in range(30):
        phone, start = 600 + n % 3, FIRST + timedelta(minutes=n)
        lines.append(f"{phone},{phone},09800000{n:03d},PJSIP/{phone}-{n},PJSIP/trunk-{n},{start},9,0,BUSY,u{n}\n")
    assert read("".join(lines)).attempts == 30


def test_counts_of_several_customers_are_refused_too(problems: Problems) -> None:
    rows = [f"{name},2026-05-04 {hour:02d}:00,{hour}\n" for name in ("acme", "umbra") for hour in range(24)]
    (said,) = problems("customer,start,calls\n" + "".join(rows))
    assert "by `customer`: " in said


def test_a_customer_with_several_numbers_is_one_customer(read: Read) -> None:
    """An account's numbers share its trunk."""
    assert read(calls("PhoneNumberSid", ["PN1", "PN2"])).attempts == 30
