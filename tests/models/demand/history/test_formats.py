"""Each form of history is recognised by its headings or its shape, and says the same of the same calls."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trunkproof.models.demand.history.extraction import all_time_forms, extract
from trunkproof.models.demand.history.formats import STARTS, Layout, Part
from trunkproof.models.demand.history.masking import Mask
from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.opening import open_histories
from trunkproof.models.demand.history.pairing import paired
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import Columns, HistorySettings
from trunkproof.models.demand.history.shapes import layout_by_shape
from trunkproof.models.demand.history.table import CALLS_SCHEMA, COUNTS_SCHEMA, History

Read = Callable[..., History]
Problems = Callable[..., list[str]]

FIELDS: list[dict[str, str]] = [
    {"src": "+912012345678", "dst": "+917098765432", "context": "to-trunk", "word": "ANSWERED",
     "cause": "NORMAL_CLEARING", "answer": "2024-05-06 10:00:09", "end": "2024-05-06 10:02:09",
     "duration": "129", "billsec": "120"},
    {"src": "+912012345678", "dst": "+917098765433", "context": "to-trunk", "word": "NO ANSWER", "cause": "NO_ANSWER",
     "answer": "", "end": "2024-05-06 10:01:20", "duration": "20", "billsec": "0"},
    {"src": "+917000000001", "dst": "+912012345678", "context": "from-trunk", "word": "BUSY", "cause": "USER_BUSY",
     "answer": "", "end": "2024-05-06 10:02:03", "duration": "3", "billsec": "0"},
    {"src": "+912012345678", "dst": "+917098765434", "context": "to-trunk", "word": "CONGESTION",
     "cause": "NORMAL_TEMPORARY_FAILURE", "answer": "", "end": "2024-05-06 10:03:00", "duration": "0", "billsec": "0"},
]  # fmt: skip


def lines(template: str) -> str:
    """One line per call; a template has the field names in braces."""
    filled = (template.format(n=i, start=f"2024-05-06 10:0{i}:00", **fields) for i, fields in enumerate(FIELDS))
    return "".join(f"{line}\n" for line in filled)


MASTER = lines(
    '"trunk","{src}","{dst}","{context}",""""" <{src}>","PJSIP/a-{n}","PJSIP/b-{n}","Dial","PJSIP/x@trunk,60",'
    '"{start}","{answer}","{end}",{duration},{billsec},"{word}","DOCUMENTATION","1714969800.{n}",""'
)
CDR_ADAPTIVE = (
    "calldate,clid,src,dst,dcontext,channel,dstchannel,lastapp,lastdata,duration,billsec,disposition,amaflags,"
    "accountcode,uniqueid,userfield\n"
) + lines("{start},x,{src},{dst},{context},a,b,Dial,,{duration},{billsec},{word},3,,1714969800.{n},")
CDR_CUSTOM = lines(
    '"x","{src}","{dst}","{context}","a","b","Dial","","{start}","{answer}","{end}","{duration}","{billsec}","{word}",'
    '"3","","1714969800.{n}","","{n}"'
)
FREESWITCH = lines(
    '"Agent","{src}","{dst}","{context}","{start}","{answer}","{end}","{duration}","{billsec}","{cause}","8d0c7b4e-{n}",'
    '"", "trunk"'
)
FREESWITCH_AS_ASTERISK = lines(
    '"trunk","{src}","{dst}","{context}","x","a","b","bridge","","{start}","{answer}","{end}","{duration}","{billsec}",'
    '"{cause}","3","8d0c7b4e-{n}",""'
)

OPERATOR = """\
Sid,From,To,Direction,Status,StartTime,EndTime,Duration,ConversationDuration
s1,+912012345678,+917098765432,outbound-api,completed,2024-05-06 10:00:00,2024-05-06 10:02:09,129,120
s2,+912012345678,+917098765433,outbound-api,no-answer,2024-05-06 10:01:00,2024-05-06 10:01:20,20,
s3,+917000000001,+912012345678,inbound,busy,2024-05-06 10:02:00,2024-05-06 10:02:03,3,
s4,+912012345678,+917098765434,outbound-dial,failed,2024-05-06 10:03:00,2024-05-06 10:03:00,0,
"""

NAMED = """\
began;answered_at;ended;result;sip;a;b;way
2024-05-06T10:00:00+05:30;2024-05-06T10:00:09+05:30;2024-05-06T10:02:09+05:30;;200;+912012345678;+917098765432;out
2024-05-06T04:31:00Z;;2024-05-06T10:01:20+05:30;;480;+912012345678;+917098765433;out
2024-05-06T10:02:00+05:30;;2024-05-06T10:02:03+05:30;busy;;+917000000001;+912012345678;in
2024-05-06T10:03:00+05:30;;2024-05-06T10:03:00+05:30;;503;+912012345678;+917098765434;out
"""
COLUMNS = Columns(
    start="began", answered="answered_at", end="ended", status="result", code="sip", caller="a", callee="b",
    direction="way",
)  # fmt: skip

FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Master.csv": (MASTER, "asterisk", {}),
    "cdr_adaptive": (CDR_ADAPTIVE, "asterisk", {}),
    "cdr_custom": (CDR_CUSTOM, "asterisk", {}),
    "freeswitch": (FREESWITCH, "freeswitch", {}),
    "freeswitch as asterisk": (FREESWITCH_AS_ASTERISK, "freeswitch", {}),
    "operator": (OPERATOR, "operator", {}),
    "columns": (NAMED, "columns", {"columns": COLUMNS}),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_the_same_of_the_same_four_calls(read: Read, name: str) -> None:
    text, form, settings = FORMS[name]
    history = read(text, **settings)
    calls = history.calls
    assert calls is not None
    assert history.format == form
    assert history.rows_read == 4
    assert calls.schema == CALLS_SCHEMA
    assert calls["start_local"].to_list() == [datetime(2024, 5, 6, 10, minute) for minute in range(4)]
    assert calls["start_utc"].dt.hour().to_list() == [4, 4, 4, 4]
    assert calls["status"].to_list() == ["answered", "no_answer", "busy", "refused"]
    assert calls["direction"].to_list() == ["outbound", "outbound", "inbound", "outbound"]
    assert calls["holding_s"].to_list() == [120.0, None, None, None]
    assert calls["ringing_s"].to_list()[:3] == [9.0, 20.0, 3.0]
    assert calls["caller"][0] == calls["caller"][1] == calls["callee"][2]
    assert calls["callee"].n_unique() == 4
    assert {oddity.kind for oddity in history.oddities} <= {"partial_first_day", "partial_last_day"}


def test_row_is_the_line_of_the_file(read: Read) -> None:
    for text, first in ((OPERATOR, 2), (MASTER, 1), ("\n" + OPERATOR, 3)):
        calls = read(text).calls
        assert calls is not None
        assert calls["row"].to_list() == list(range(first, first + 4))


def test_freeswitch_with_headings_and_epochs(read: Read) -> None:
    text = """\
uuid,caller_id_number,destination_number,start_epoch,answer_epoch,end_epoch,duration,billsec,hangup_cause,sip_term_status
u1,100,200,1714969800,1714969809,1714969929,129,120,NORMAL_CLEARING,200
u2,100,200,1714969860,0,1714969880,20,0,NORMAL_CLEARING,
u3,100,200,1714969890,0,1714969890,0,0,SWITCH_CONGESTION,
u4,100,200,1714969899,0,1714969900,1,0,NORMAL_TEMPORARY_FAILURE,500
"""
    calls = read(text).calls
    assert calls is not None
    assert calls["status"].to_list() == ["answered", "abandoned", "refused", "rejected"]
    assert calls["start_local"][0] == datetime(2024, 5, 6, 10)
    assert calls["holding_s"].to_list() == [120.0, None, None, None]


def test_both_legs_of_a_freeswitch_call_are_one_attempt(read: Read) -> None:
    a = '"x","100","200","default","2024-05-06 10:00:00","2024-05-06 10:00:09","2024-05-06 10:02:09","129","120"'
    text = f'{a},"NORMAL_CLEARING","one","two","t"\n{a},"NORMAL_CLEARING","two","","t"\n'
    history = read(text)
    assert history.attempts == 1
    assert [oddity.rows for oddity in history.oddities if oddity.kind == "further_leg"] == [(2,)]


ACC = """\
id,method,from_tag,to_tag,callid,sip_code,sip_reason,time,src_user,dst_user
1,INVITE,f1,t1,c1@host,200,OK,2024-05-06 10:00:09,912012345678,917098765432
2,INVITE,f2,t2,c2@host,503,Service Unavailable,2024-05-06 10:00:10,912012345678,917098765433
3,INVITE,f3,t3,c3@host,487,Request Terminated,2024-05-06 10:00:20,912012345678,917098765434
4,BYE,f1,t1,c1@host,200,OK,2024-05-06 10:02:09,912012345678,917098765432
5,INVITE,f5,t5,c5@host,200,OK,2024-05-06 10:03:00,912012345678,917098765435
6,BYE,f9,t9,c9@host,200,OK,2024-05-06 10:04:00,912012345678,917098765439
7,MESSAGE,f7,t7,c7@host,200,OK,2024-05-06 10:04:00,912012345678,917098765439
8,INVITE,f8,t8,c8@host,407,Proxy Authentication Required,2024-05-06 10:04:30,912012345678,917098765439
"""


@pytest.mark.parametrize("users", [True, False])
def test_kamailio_invites_find_their_byes(read: Read, users: bool) -> None:
    text = ACC if users else "\n".join(",".join(line.split(",")[:8]) for line in ACC.splitlines())
    history = read(text)
    calls = history.calls
    assert calls is not None
    assert history.format == "kamailio"
    assert calls["status"].to_list() == ["answered", "refused", "abandoned", "answered"]
    assert calls["code"].to_list() == [200, 503, 487, 200]
    assert calls["holding_s"].to_list() == [120.0, None, None, None]
    assert calls["caller"].null_count() == (0 if users else 4)
    kinds = {oddity.kind: oddity.rows for oddity in history.oddities}
    assert kinds["bye_without_invite"] == (7,)
    assert kinds["not_a_call"] == (8, 9)
    assert kinds["missing_end"] == (6,)
    assert kinds["time_of_response"] == (2, 6)


def test_kamailio_without_a_heading_and_with_tabs(read: Read) -> None:
    text = "\n".join(line.replace(",", "\t") for line in ACC.splitlines()[1:])
    history = read(text)
    assert history.format == "kamailio"
    assert history.attempts == 4


@pytest.mark.parametrize("name", ["calls.csv.gz", "calls.csv"])
def test_gzip_is_found_by_content(read: Read, name: str) -> None:
    assert read(gzip.compress(OPERATOR.encode()), name).attempts == 4


def test_parquet_with_types_of_its_own(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "StartTime": [datetime(2024, 5, 6, 10), datetime(2024, 5, 6, 10, 1)],
            "EndTime": [datetime(2024, 5, 6, 10, 2), None],
            "Duration": [120, None],
            "Status": pl.Series(["completed", "busy"], dtype=pl.Categorical),
            "From": [912012345678, 912012345678],
            "To": [917098765432, None],
            "Direction": ["outbound", "inbound"],
            "row": [7, 8],
        }
    )
    table.write_parquet(tmp_path / "calls.parquet")
    history = read_history(HistorySettings(path=tmp_path / "calls.parquet"))
    calls = history.calls
    assert calls is not None
    assert history.format == "operator"
    assert calls["row"].to_list() == [2, 3]
    assert calls["start_local"][0] == datetime(2024, 5, 6, 10)
    assert calls["holding_s"].to_list() == [120.0, None]
    assert calls["callee"].null_count() == 1


def test_counts_of_calls_have_no_gaps(read: Read) -> None:
    history = read(OPERATOR, interval_s=60)
    counts = history.counts
    assert counts.schema == COUNTS_SCHEMA
    assert counts["attempts"].sum() == 4
    assert counts["refused"].sum() == 1
    assert (counts["start_utc"].diff().drop_nulls().dt.total_seconds() == 60).all()


UNKNOWN = "when,who,whom\n2024-05-06 10:00:00,+912012345678,+917098765432\n"


def test_an_unknown_form_says_what_there_is_and_which_keys_to_set(problems: Problems) -> None:
    (found,) = problems(UNKNOWN)
    assert "history.format" in found
    assert "`when`, `who`, `whom`" in found
    assert "history.columns" in found
    (found,) = problems("1,2,3\n4,5,6\n")
    assert "3 columns without a heading" in found
    assert "`column 1`" in found


def test_all_wrong_names_are_told_at_once_with_the_nearest(problems: Problems) -> None:
    found = problems(UNKNOWN, columns=Columns(start="wen", caller="who", callee="whoom", status="colour"))
    assert len(found) == 3
    assert "history.columns.start: the file has no column `wen`; did you mean `when`?" in found[0]
    assert "`colour`; there are `when`, `who`, `whom`" in "".join(found)
    assert "did you mean `whom`?" in "".join(found)


def test_a_format_that_the_file_is_not_is_told(problems: Problems) -> None:
    assert "looks like `freeswitch`, not `asterisk`" in problems(FREESWITCH, format="asterisk")[0]
    found = problems(OPERATOR, format="kamailio")
    assert any("has a column for `method`" in problem for problem in found)
    assert problems(OPERATOR, format="columns") == ["history.columns: must name the columns"]


def test_a_column_named_twice_is_told(problems: Problems) -> None:
    assert "is the same column as `start`" in problems(UNKNOWN, columns=Columns(start="when", end="when"))[0]


def test_words_that_are_no_dispositions_have_no_shape() -> None:
    assert layout_by_shape(pl.DataFrame({f"column {i}": ["a", "b"] for i in range(18)})) is None


def test_a_bye_before_its_answer_is_the_end_for_want_of_another(tmp_path: Path) -> None:
    (tmp_path / "acc.csv").write_text(
        "method,callid,sip_code,time\n"
        "INVITE,c1,200,2024-05-06 10:00:09\nBYE,c1,200,2024-05-06 10:00:01\n"
        "INVITE,c2,200,2024-05-06 10:00:09\nBYE,c2,200,2024-05-06 10:00:19\nBYE,c2,481,2024-05-06 10:00:29\n"
    )
    (opened,) = open_histories([tmp_path / "acc.csv"], STARTS)
    columns = {"start": "time", "method": "method", "id": "callid", "code": "sip_code"}
    ledger = Ledger()
    part = Part(opened, Layout("kamailio", columns))
    (forms,) = all_time_forms([part], ledger)
    frame, _ = extract(part, forms, HistorySettings(path=opened.path), Mask(), ledger)
    assert frame["id"].n_unique() == 2
    ends = paired(frame, ledger)["end"].to_list()
    assert ends == [datetime(2024, 5, 6, 10, 0, 1), datetime(2024, 5, 6, 10, 0, 19)]
