"""Which calls stay inside a PBX, by the channels that Asterisk notes."""

from __future__ import annotations

import polars as pl
import pytest

from trunkproof.models.demand.history.telephones import is_internal

ROLES = ("caller", "callee", "channel", "dstchannel", "lastdata")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("600", "611", "PJSIP/600-0a1", "PJSIP/611-0a2", "PJSIP/611,20"), True),
        (("600", "611", "SIP/600-0a1", "Local/611@from-internal-0a2;1", ""), True),
        (("600", "611", "PJSIP/600-0a1", "", "PJSIP/611,20,tr"), True),
        (("alice", "bob", "PJSIP/alice-0a1", "PJSIP/bob-0a2", ""), True),
        (("600", "09812345678", "PJSIP/600-0a1", "PJSIP/exotel-0a2", "PJSIP/09812345678@exotel"), False),
        (("600", "112", "PJSIP/600-0a1", "PJSIP/exotel-0a2", "PJSIP/112@exotel"), False),
        (("600", "112", "PJSIP/600-0a1", "", "PJSIP/112@exotel"), False),
        (("09812345678", "611", "PJSIP/1001-0a1", "PJSIP/611-0a2", "PJSIP/611,20"), False),
        (("09812345678", "600", "PJSIP/exotel-0a1", "PJSIP/600-0a2", ""), False),
        ((None, "611", "PJSIP/600-0a1", None, None), False),
    ],
)
def test_both_ends_must_be_telephones(call: tuple[str | None, ...], expected: bool) -> None:
    frame = pl.DataFrame([call], schema=dict.fromkeys(ROLES, pl.String), orient="row")
    assert frame.select(is_internal({role: role for role in ROLES})).item() is expected
