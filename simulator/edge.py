"""A TLS edge and each customer's connections to it: handshakes, re-use, resumption, restarts, and an edge that is away.

It models how long a caller waits for a connection, and the kind of the connection. `trunk` models what is sent over it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import simpy

from trunkproof.models.costs import Costs
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import ConnectionKind
from trunkproof.models.study import Trunk
from trunkproof.models.timers import CONNECT_TIMEOUT_S
from trunkproof.models.traffic import TlsPolicy
from trunkproof.simulator.host import Host

Wait = Generator[simpy.Event, object, ConnectionKind | None]
TCP_ROUND_TRIPS = 1
TLS_ROUND_TRIPS = {("1.3", False): 1, ("1.3", True): 1, ("1.2", False): 2, ("1.2", True): 1}
"""(TLS version, whether the handshake resumes a session) -> round trips (RFC 8446 section 2, RFC 5246 section 7.3)."""


def round_trips(trunk: Trunk, *, resumes: bool) -> int:
    """Return the round trips until a connection of a trunk's customer is open."""
    return TCP_ROUND_TRIPS + (TLS_ROUND_TRIPS[trunk.traffic.tls.expected_version, resumes] if trunk.is_tls else 0)


@dataclass(eq=False)
class Edge:
    """The TLS listener. It is up or down, and counts its restarts."""

    env: simpy.Environment
    host: Host
    costs: Costs
    up: bool = True
    restarts: int = 0
    silent_until_s: float | None = None
    """While it is down: when it is back. Until then it does not even refuse a connection. None: it refuses."""

    def go_down(self, silent_until_s: float | None = None) -> None:
        """Drop every connection and refuse new ones, or let them wait."""
        self.up, self.silent_until_s = False, silent_until_s
        self.restarts += 1

    def come_back(self) -> None:
        """Listen again."""
        self.up = True


@dataclass(eq=False)
class Connections:
    """One customer's connections, by the TLS policy of the study."""

    edge: Edge
    trunk: Trunk
    _standing: dict[int, int] = field(default_factory=dict)
    """Slot -> the number of restarts when its connection was opened. A later restart has closed it."""
    _opening: dict[int, simpy.Event] = field(default_factory=dict)
    _has_session: bool = False

    def __post_init__(self) -> None:
        self.use = self.trunk.traffic.tls
        self._slots = self.use.pool_size if self.use.policy is TlsPolicy.POOL else 1

    def standing(self, row: PlanRow) -> ConnectionKind | None:
        """Return REUSED if a connection for that attempt is open already, else None."""
        # A number of restarts, and no flag: one restart closes all connections, without a visit to each.
        if self.use.policy is TlsPolicy.PER_CALL or self._standing.get(self._slot(row)) != self.edge.restarts:
            return None
        return ConnectionKind.REUSED

    def open(self, row: PlanRow) -> Wait:
        """Open a connection, or wait for a call that is opening it. Return its kind, or None where that failed."""
        if self.use.policy is TlsPolicy.PER_CALL:
            return (yield from self._handshake(row))
        slot = self._slot(row)
        if slot in self._opening:
            opened = yield self._opening[slot]
            return ConnectionKind.REUSED if opened else None
        # Calls that come while the handshake lasts wait for it, and do not open a second connection.
        opening = self._opening[slot] = self.edge.env.event()
        kind = yield from self._handshake(row)
        del self._opening[slot]
        if kind is not None:
            self._standing[slot] = self.edge.restarts
        opening.succeed(kind is not None)
        return kind

    def _slot(self, row: PlanRow) -> int:
        # By the call and not the attempt: a redial, and the BYE, use the connection of the call's INVITE.
        return row.call % self._slots

    def _handshake(self, row: PlanRow) -> Wait:
        edge, costs, restarts = self.edge, self.edge.costs, self.edge.restarts
        if not edge.up:
            if edge.silent_until_s is None:
                return None
            wait_s = edge.silent_until_s - edge.env.now
            # The kernel of the edge's machine has queued the connection, so the handshake begins when the edge is back.
            yield edge.env.timeout(min(wait_s, CONNECT_TIMEOUT_S))
            if wait_s >= CONNECT_TIMEOUT_S or restarts != edge.restarts:
                return None
        resumes = row.resumes and self._has_session
        work_s = costs.resumed_handshake_s if resumes else costs.full_handshake_s
        # Round trips need no CPU, and the handshake's work waits in the queue of the host.
        trips = round_trips(self.trunk, resumes=resumes)
        yield edge.env.timeout(trips * costs.round_trip_s + edge.host.finish(work_s, edge.env.now))
        # Being up again is not enough: a restart in between has dropped the half-open connection.
        if restarts != edge.restarts:
            return None
        self._has_session = True
        if not self.trunk.is_tls:
            return ConnectionKind.TCP
        return ConnectionKind.RESUMED if resumes else ConnectionKind.FULL
