"""RFC 3261 section 7.3: headers that we wrote as text behave in every way as those made of rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.headers import CANONICAL_NAMES, Header, Headers, canonical_name

NAMES = sorted(set(CANONICAL_NAMES.values()) - {"Content-Length"})
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
ROWS = st.lists(st.tuples(st.sampled_from([*NAMES, "X-Own"]), VALUES), min_size=1, max_size=12)


def both(rows: list[Header]) -> tuple[Headers, Headers]:
    """The same headers, of rows and of their text with the first of them at hand."""
    text = "".join(f"{name}: {value}\r\n" for name, value in rows)
    return Headers(rows), Headers.written(text, len(rows), dict(rows[:1]))


@given(ROWS, st.sampled_from(["Via", "v", "cseq", "Reason", "X-OWN", "Absent"]))
def test_written_headers_read_as_rows_do(rows: list[Header], name: str) -> None:
    slow, fast = both(rows)
    assert fast.get(rows[0][0]) == slow.get(rows[0][0])
    assert fast.get(name) == slow.get(name)
    assert fast.text() == slow.text()
    assert (fast.rows(name), fast.elements(name)) == (slow.rows(name), slow.elements(name))
    assert (list(fast), len(fast), repr(fast)) == (list(slow), len(slow), repr(slow))
    assert fast == slow


@given(ROWS, st.sampled_from(["add", "replace", "replace_all"]), st.sampled_from(["Via", "t", "X-Own"]))
def test_written_headers_change_as_rows_do(rows: list[Header], how: str, name: str) -> None:
    headers = both(rows)
    for each in headers:
        getattr(each, how)(name, ["1", "2"] if how == "replace_all" else "1")
    slow, fast = headers
    assert fast == slow
    assert (fast.text(), fast.get(name)) == (slow.text(), slow.get(name))
    assert list(fast.copy()) == list(slow)


@pytest.mark.parametrize("bad", ["a\r\nEvil: 1", "a\n", "\r"])
def test_line_breaks_inside_a_row_are_a_bug_of_ours(bad: str) -> None:
    for headers in both([("To", "b"), ("Subject", bad)]):
        with pytest.raises(ValueError, match="line break"):
            headers.text()


def test_7_3_3_compact_forms_and_cases_have_one_spelling() -> None:
    spellings = ["i", "I", "call-id", "CALL-ID", "Call-ID", "X-oWn"]
    assert [canonical_name(name) for name in spellings] == ["Call-ID"] * 5 + ["X-oWn"]
