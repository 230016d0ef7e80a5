"""The TLS connections from one customer to all edges of its trunk, and what it has learnt of edges that failed.

`models.edge_choice` has the rule, which the model plays too. A call asks which edge is next, and for a connection to
it. It does not know what is sent on a connection, and does not try again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from trunkproof.loadgen.tls.connection import ConnectError
from trunkproof.loadgen.tls.pool import ConnectionPool, Lease
from trunkproof.models.edge_choice import EdgeChoice
from trunkproof.models.edges import Edge
from trunkproof.models.records import ConnectionKind

_ONLY = (Edge(host="edge"),)


class EdgePools:
    """A pool of connections for each edge. With `on_503` a refusal with 503 is tried at the next edge too."""

    def __init__(
        self, pools: Sequence[ConnectionPool], choice: EdgeChoice | None = None, *, on_503: bool = False
    ) -> None:
        self.pools = tuple(pools)
        self.on_503 = on_503
        self._choice = choice or EdgeChoice(_ONLY, 0, 0.0)

    def choose(self, call: int, tried: int = 0) -> int | None:
        """Return the edge that a call tries next. `tried` has a bit for each edge before. None: it has tried all."""
        return self._choice.next(call, asyncio.get_running_loop().time(), tried)

    def likely(self, call: int) -> int:
        """Return which edge a call that has tried none would be given now."""
        return self._choice.likely(call, asyncio.get_running_loop().time())

    def standing(self, edge: int, call: int) -> Lease | None:
        """Return what `acquire` would return at once, or None where a connection has to be opened first."""
        return self.pools[edge].standing(call)

    async def acquire(self, edge: int, call: int, *, resume: bool = False) -> Lease:
        """Return a connection to an edge.

        Raises:
            ConnectError: the edge did not let us connect. It is avoided for a while.
            LocalNetworkError: this machine could not connect, or the pool is closed.
        """
        try:
            lease = await self.pools[edge].acquire(call, resume)
        except ConnectError:
            self.failed(edge)
            raise
        if lease.kind is not ConnectionKind.REUSED:
            self._choice.worked(edge)
        return lease

    def failed(self, edge: int) -> None:
        """Note that an edge did not answer."""
        self._choice.failed(edge, asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Close all connections."""
        for pool in self.pools:
            await pool.close()
