"""The TLS edge and each customer's connections to it: handshakes, re-use, resumption, and restarts.

It says how long a caller waits for a connection and of which kind it is. What is sent over it is `trunk`'s.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import simpy

from trunkproof.models.costs import Costs
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import ConnectionKind
from trunkproof.models.traffic import TlsPolicy, TlsUse
from trunkproof.simulator.host import Host

Wait = Generator[simpy.Event, object, ConnectionKind | None]
TCP_ROUND_TRIPS = 1
TLS_ROUND_TRIPS = {("1.3", False): 1, ("1.3", True): 1, ("1.2", False): 2, ("1.2", True): 1}
"""By version and whether the handshake resumes a session (RFC 8446 section 2, RFC 5246 section 7.3)."""


@dataclass(eq=False)
class Edge:
    """The listener: up or down, and how often it was restarted."""

    env: simpy.Environment
    host: Host
    costs: Costs
    up: bool = True
    restarts: int = 0

    def go_down(self) -> None:
        """Drop every connection and refuse new ones."""
        self.up = False
        self.restarts += 1

    def come_back(self) -> None:
        """Listen again."""
        self.up = True


@dataclass(eq=False)
class Connections:
    """One customer's connections, as its study wants them."""

    edge: Edge
    use: TlsUse
    _standing: dict[int, int] = field(default_factory=dict)
    """Slot -> the restart count under which its connection was opened."""
    _opening: dict[int, simpy.Event] = field(default_factory=dict)
    _has_session: bool = False

    def __post_init__(self) -> None:
        self._slots = self.use.pool_size if self.use.policy is TlsPolicy.POOL else 1

    def standing(self, row: PlanRow) -> ConnectionKind | None:
        """That there is one for that attempt already, at no cost; `None`: it is to be opened."""
        if self.use.policy is TlsPolicy.PER_CALL or self._standing.get(self._slot(row)) != self.edge.restarts:
            return None
        return ConnectionKind.REUSED

    def open(self, row: PlanRow) -> Wait:
        """Open the connection that does not stand, or wait for who does: its kind, or `None` where none can be had."""
        if self.use.policy is TlsPolicy.PER_CALL:
            return (yield from self._handshake(row))
        slot = self._slot(row)
        if slot in self._opening:
            opened = yield self._opening[slot]
            return ConnectionKind.REUSED if opened else None
        opening = self._opening[slot] = self.edge.env.event()
        kind = yield from self._handshake(row)
        del self._opening[slot]
        if kind is not None:
            self._standing[slot] = self.edge.restarts
        opening.succeed(kind is not None)
        return kind

    def _slot(self, row: PlanRow) -> int:
        return row.call % self._slots

    def _handshake(self, row: PlanRow) -> Wait:
        edge, costs = self.edge, self.edge.costs
        if not edge.up:
            return None
        restarts, resumes = edge.restarts, row.resumes and self._has_session
        work_s = costs.resumed_handshake_s if resumes else costs.full_handshake_s
        trips = TCP_ROUND_TRIPS + TLS_ROUND_TRIPS[self.use.version, resumes]
        yield edge.env.timeout(trips * costs.round_trip_s + edge.host.finish(work_s, edge.env.now))
        if restarts != edge.restarts:
            return None
        self._has_session = True
        return ConnectionKind.RESUMED if resumes else ConnectionKind.FULL
