"""The first hop of a customer's requests: the trunk, or the outbound proxy of its study."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.guard import LOOPBACK_ONLY, Guard
from trunkproof.loadgen.parties.first_hop import first_hop
from trunkproof.models.errors import GuardError
from trunkproof.models.study import Trunk

TARGET = LOOPBACK_ONLY.check("127.0.0.1", 5443, 0.0)
TRAFFIC: dict[str, Any] = {"arrivals": {"kind": "constant", "rate_per_minute": 60}, "holding": 1}


def trunk(**changes: Any) -> Trunk:
    return Trunk.model_validate({"traffic": TRAFFIC} | changes)


def test_without_a_proxy_it_is_the_trunk_itself() -> None:
    assert first_hop(trunk(), TARGET, "trunk.example", LOOPBACK_ONLY, 60) == (TARGET, "trunk.example", None)


@pytest.mark.parametrize(
    ("written", "transport", "port", "route"),
    [
        ("127.0.0.9:5099", "tls", 5099, "sip:127.0.0.9:5099;transport=tls;lr"),
        ("127.0.0.9", "tls", 5061, "sip:127.0.0.9:5061;transport=tls;lr"),
        ("127.0.0.9", "tcp", 5060, "sip:127.0.0.9:5060;transport=tcp;lr"),
        ("[::1]:5070", "tcp", 5070, "sip:[::1]:5070;transport=tcp;lr"),
    ],
)
def test_rfc3261_8_1_2_a_proxy_is_a_loose_route_and_its_certificate_is_its_own(
    written: str, transport: str, port: int, route: str
) -> None:
    hop = first_hop(trunk(outbound_proxy=written, transport=transport), TARGET, "trunk.example", LOOPBACK_ONLY, 60)
    assert (hop.target.port, hop.route) == (port, route)
    assert hop.server_name == hop.target.host


def test_the_guard_holds_for_the_proxy_too() -> None:
    through = trunk(outbound_proxy="192.0.2.9:5061")
    with pytest.raises(GuardError, match=r"192\.0\.2\.9"):
        first_hop(through, TARGET, "trunk.example", LOOPBACK_ONLY, 60)
    allowed = Guard(frozenset({"192.0.2.9"}), confirmed_calls_per_minute=60)
    assert first_hop(through, TARGET, "trunk.example", allowed, 60).target.address == "192.0.2.9"
