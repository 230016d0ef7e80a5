"""Say where a customer connects: to the trunk itself, or to the outbound proxy that its study names.

A proxy changes the first hop of requests outside a dialog, and nothing else: the Request-URI is the trunk's, and a
Route header names the proxy (RFC 3261 section 8.1.2). Requests in a dialog go where its Record-Route says (section
12.2.1.1).
"""

from __future__ import annotations

from typing import NamedTuple

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.sip.fields import uri_host
from trunkproof.models.study import USUAL_PORT, Trunk


class FirstHop(NamedTuple):
    """Where a customer's connections go, and what the Route header of its INVITEs says."""

    target: Target
    server_name: str
    """The name for which the certificate there must be."""
    route: str | None = None
    """The URI of the outbound proxy. None without one."""

    def card(self, card: TrunkCard) -> TrunkCard:
        """Return the trunk's card as it looks from the customer: a proxy stands before all its edges."""
        if self.route is None:
            return card
        here = {"host": self.target.address, "port": self.target.port, "server_name": self.server_name, "edges": ()}
        return card.model_copy(update=here)

    def __str__(self) -> str:
        return f"{uri_host(self.target.host)}:{self.target.port}"


def first_hop(trunk: Trunk, target: Target, server_name: str, guard: Guard, calls_per_minute: float) -> FirstHop:
    """Return where the customer of a trunk at `target` connects, which the guard has approved.

    Raises:
        GuardError: the outbound proxy may not be called.
        StackError: its name does not resolve.
    """
    proxy = trunk.outbound_proxy
    if proxy is None:
        return FirstHop(target, server_name)
    port = proxy.port_or(USUAL_PORT[trunk.transport])
    there = guard.check(proxy.host, port, calls_per_minute)
    route = f"sip:{uri_host(proxy.host)}:{port};transport={trunk.transport};lr"
    return FirstHop(there, proxy.host, route)
