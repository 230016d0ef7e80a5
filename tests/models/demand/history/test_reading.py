"""Whatever a file says, it is read or refused; nothing else happens, and no number is shown."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import CALLS_SCHEMA, COUNTS_SCHEMA, History
from trunkproof.models.errors import InputError

OPERATOR = """\
Sid,From,To,Direction,Status,StartTime,EndTime,Duration
s1,+912012345678,+917098765432,outbound-api,completed,2024-05-06 10:00:00,2024-05-06 10:02:09,129
s2,+912012345678,+917098765433,outbound-api,no-answer,2024-05-06 10:01:00,2024-05-06 10:01:20,20
s3,+917000000001,+912012345678,inbound,busy,2024-05-07 10:02:00,2024-05-07 10:02:03,3
"""
MASTER = """\
"t","+912012345678","+917098765432","to-trunk","","a","b","Dial","x,y","2024-05-06 10:00:00","2024-05-06 10:00:09",\
"2024-05-06 10:02:09",129,120,"ANSWERED","DOCUMENTATION","1714969800.1",""
"t","+912012345678","+917098765433","to-trunk","","a","","Dial","x,y","2024-05-06 10:01:00",,\
"2024-05-06 10:01:20",20,0,"NO ANSWER","DOCUMENTATION","1714969860.2",""
"""
ACC = """\
method;from_tag;to_tag;callid;sip_code;sip_reason;time
INVITE;f1;t1;c1;200;OK;2024-05-06 10:00:09
BYE;f1;t1;c1;200;OK;2024-05-06 10:02:09
INVITE;f2;t2;c2;503;Service Unavailable;2024-05-06 10:00:10
"""
COUNTS = "date,start,calls\n2024-05-06,10:00,3\n2024-05-06,10:06,4\n2024-05-06,10:12,5\n"
TIMES = [f"{day} 23:59:59" for day in ("0000-00-00", "2024-02-30", "9999-12-31", "0001-01-01", "1970-01-01")]
MARKS = ["", '"', ",", "\n", "\r", "\0", ";", "\ufeff", "é", "''"]
ODD = st.sampled_from([*TIMES, *MARKS, "-1", "1e400", "nan", "9" * 30, "+919812345678", "\\N", "NULL"])


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from([OPERATOR, MASTER, ACC, COUNTS]))
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(text)))
        last = min(len(text), first + draw(st.integers(0, 25)))
        text = text[:first] + draw(ODD) + text[last:]
    return text


@settings(max_examples=60, deadline=None)
@given(text=spoilt())
def test_spoilt_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("history") / "calls.csv"
    path.write_bytes(text.encode())
    result: History | InputError
    try:
        result = read_history(HistorySettings(path=path))
    except InputError as error:
        result = error
    told = str(result) if isinstance(result, InputError) else str([o.to_json() for o in result.oddities])
    assert not re.search(r"\d{7}", told.replace("9" * 7, ""))
    if isinstance(result, History):
        whole_and_valid(result)


def whole_and_valid(history: History) -> None:
    assert history.counts.schema == COUNTS_SCHEMA
    assert history.counts["attempts"].min() >= 0  # type: ignore[operator]
    if history.calls is not None:
        assert history.calls.schema == CALLS_SCHEMA
        assert history.counts["attempts"].sum() == history.calls.height
        assert history.calls.select(pl.col("ringing_s", "holding_s").min() >= 0).row(0).count(False) == 0


def test_a_path_is_relative_to_the_folder_of_the_request(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text(OPERATOR)
    history = read_history(HistorySettings(path=Path("calls.csv")), tmp_path)
    assert history.source == "calls.csv"
    assert history.rows_read == 3
    with pytest.raises(InputError, match="no such file"):
        read_history(HistorySettings(path=Path("calls.csv")), tmp_path / "elsewhere")
