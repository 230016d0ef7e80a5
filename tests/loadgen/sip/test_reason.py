"""The Reason header (RFC 3326), read and written."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.sip.headers import Headers
from trunkproof.loadgen.sip.reason import LONGEST_TEXT, EndReason, read_reason, sip_reason


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (["Q.850;cause=16"], 16),
        (["SIP;cause=580", 'q.850 ; cause=31 ;text="a, b"'], 31),
        (["SIP;cause=600"], None),
        (["Q.850;cause=soon"], None),
        (["Q.850"], None),
        ([";;;"], None),
    ],
)
def test_rfc3326_2_read(values: list[str], cause: int | None) -> None:
    reason = read_reason(Headers([("Reason", value) for value in values]))
    assert reason == EndReason(cause, ", ".join(values))


def test_rfc3326_2_absent_and_long() -> None:
    assert read_reason(Headers([])) is None
    reason = read_reason(Headers([("Reason", "SIP;text=" + "x" * 9_000)]))
    assert reason is not None
    assert len(reason.text) == LONGEST_TEXT


def test_rfc3326_3_1_a_status_and_its_words() -> None:
    assert sip_reason(488, 'no "codec"') == ("Reason", 'SIP;cause=488;text="no \\"codec\\""')
