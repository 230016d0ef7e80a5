"""Ports inside a Kamailio trunk that nobody outside needs to know: how its programs talk and show their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from trunkproof.loadgen.system.ports import free_port


@dataclass(frozen=True)
class Internal:
    """All at the PoP's inner address."""

    rtpengine_ng: int
    """UDP: where Kamailio asks for media ports."""
    rtpengine_http: int
    kamailio_http: int
    """Metrics at `/metrics`, JSON-RPC at `/rpc`."""


def choose_internal(inner_address: IPv4Address, taken: frozenset[int] = frozenset()) -> Internal:
    """Free ports, none of them among `taken`."""
    chosen: list[int] = []
    while len(chosen) < 3:
        port = free_port(str(inner_address))
        if port not in taken and port not in chosen:
            chosen.append(port)
    return Internal(*chosen)
