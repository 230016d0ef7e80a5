"""The edges of a PoP: the doors at which customers connect, in which order they are tried, and how one goes away.

Settings only. Which edge a call tries first is drawn elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, IPvAnyAddress

from trunkproof.models.hosts import PORT, HostName
from trunkproof.models.settings import Settings

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$", max_length=253)]
"""A name or an address."""
Ordinal = Annotated[int, Field(ge=0, le=65535)]
"""A priority or a weight, as in a DNS SRV record (RFC 2782)."""
Instant = Annotated[float, Field(ge=0)]
MOST_EDGES = 8
"""The kernel packs the order of a call's edges into 32 bits, four for each."""


class Edge(Settings):
    """One door of the PoP. Those of the lowest priority are tried first, by weight among them (RFC 2782)."""

    host: Host
    """Its host name; the certificate that it shows is for it."""
    port: PORT = 443
    """The port at which it listens."""
    address: IPvAnyAddress | None = None
    """Where it is. None: what the name resolves to; in the laboratory the address of the PoP."""
    priority: Ordinal = 1
    """Lower ones are tried first."""
    weight: Ordinal = 1
    """How often it is tried first among those of one priority."""


class CustomerEdge(Settings):
    """One place at which a customer takes inbound calls. The trunk tries them by priority and weight."""

    host: Host
    """A name, or an address."""
    port: PORT = 5061
    """The port at which it listens."""
    priority: Ordinal = 1
    """Lower ones are tried first."""
    weight: Ordinal = 1
    """How often it is tried first among those of one priority."""


class Dns(Settings):
    """How the names of edges are looked up. Answers are kept as long as their TTL says."""

    srv: HostName | None = None
    """The domain whose SRV records `_sips._tcp.<domain>` (RFC 3263) name the edges, instead of a list of them."""
    server: IPvAnyAddress | None = None
    """The name server. None: those of this machine."""
    port: PORT = 53
    """The port of the name server."""


class Failover(Settings):
    """When a customer turns to another edge. RFC 3263 section 4.3 names the causes, no standard the times."""

    recheck_s: Instant = 30.0
    """For so long a customer avoids an edge that failed. The first call after that tries it again."""
    on_503: bool = False
    """A refusal with 503 is tried at the next edge too."""
    record_route: Literal["address", "name"] = "address"
    """What the trunk's Record-Route names. With an address, requests inside a dialog wait until their edge is back.
    With a name, they use another edge."""


class EdgeDown(Settings):
    """One edge goes away: its connections drop, and none can be made. Established calls keep their media."""

    kind: Literal["edge_down"]
    """One signalling edge goes away."""
    at_s: Instant
    """Seconds after the start of the run."""
    lasts_s: Annotated[float, Field(gt=0)]
    """How long it is away, in seconds."""
    edge: int | str = 0
    """Its place in `edges`, from 0, or its host."""
    connects: Literal["refused", "time_out"] = "refused"
    """What happens to attempts to connect."""


def edge_problems(edges: Sequence[Edge], downs: Sequence[EdgeDown]) -> Iterator[str]:
    """Yield what is wrong with a list of edges, and with the incidents that name them."""
    if len(edges) > MOST_EDGES:
        yield f"edges: {len(edges)} are more than the {MOST_EDGES} that a trunk can have"
    places = [(edge.host, edge.port, edge.address) for edge in edges]
    for host, port, _ in sorted({place for place in places if places.count(place) > 1}, key=str):
        yield f"edges: {host}:{port} stands twice"
    for down in downs:
        if edge_named(edges, down.edge) is None:
            known = ", ".join(f"{index} ({edge.host})" for index, edge in enumerate(edges))
            yield f"incidents: edge_down names edge {down.edge!r}; name one of {known}, a host only if one edge has it"


def edge_named(edges: Sequence[Edge], named: int | str) -> int | None:
    """Return the place of the edge with that number or host. None: there is none, or more than one."""
    if isinstance(named, int):
        return named if 0 <= named < len(edges) else None
    found = [index for index, edge in enumerate(edges) if edge.host == named]
    return found[0] if len(found) == 1 else None
