"""RFC 4028: headers read and written, and the two times of a session interval."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.sip.fields import MalformedFieldError
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.session_timer import (
    Refresher,
    SessionTimer,
    agree,
    answer_headers,
    read_min_se,
    read_session_timer,
)


def asking(value: str, supported: str = "replaces, timer") -> Request:
    return Request("INVITE", "sip:a", [("x", value), ("k", supported)])


def test_4_session_expires_is_read_in_compact_form() -> None:
    assert read_session_timer(asking("1800 ;Refresher=UAS")) == SessionTimer(1800, Refresher.UAS)
    assert read_session_timer(Request("BYE", "sip:a")) is None
    with pytest.raises(MalformedFieldError):
        read_session_timer(asking("soon"))


def test_5_min_se_is_90_where_it_is_not_said() -> None:
    assert read_min_se(Response(422)) == 90
    assert read_min_se(Response(422, None, [("Min-SE", "120;x")])) == 120


@pytest.mark.parametrize(
    ("request_", "refresher", "rows"),
    [
        (asking("1800"), Refresher.UAC, (("Require", "timer"), ("Session-Expires", "1800;refresher=uac"))),
        (asking("1800;refresher=uas"), Refresher.UAS, (("Session-Expires", "1800;refresher=uas"),)),
        (asking("1800", "replaces"), Refresher.UAS, (("Session-Expires", "1800;refresher=uas"),)),
    ],
)
def test_9_table_2_who_refreshes(request_: Request, refresher: Refresher, rows: tuple[tuple[str, str], ...]) -> None:
    agreed = agree(request_)
    assert agreed == SessionTimer(1800, refresher)
    assert answer_headers(agreed) == rows


def test_7_2_and_10_times() -> None:
    assert SessionTimer(1800).refresh_after_s() == 900
    assert SessionTimer(1800).give_up_after_s() == 1768
    assert SessionTimer(90).give_up_after_s() == 60
