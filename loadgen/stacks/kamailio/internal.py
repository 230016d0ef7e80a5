"""Choose the ports that a Kamailio trunk uses inside: for its programs to talk, and for their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from trunkproof.loadgen.system.ports import free_port


@dataclass(frozen=True)
class Internal:
    """The inside ports. All are at the PoP's inner address."""

    rtpengine_ng: int
    """The UDP port on which Kamailio asks rtpengine for media ports."""
    rtpengine_http: int
    kamailio_http: int
    """Kamailio's HTTP port: metrics at `/metrics`, JSON-RPC at `/rpc`."""


def choose_internal(inner_address: IPv4Address | IPv6Address, taken: frozenset[int] = frozenset()) -> Internal:
    """Return free ports that are not in `taken`."""
    chosen: list[int] = []
    while len(chosen) < 3:
        port = free_port(str(inner_address))
        if port not in taken and port not in chosen:
            chosen.append(port)
    return Internal(*chosen)
