"""The transactions of a user agent that are under way, found by what a received message says.

A flight is a transaction and what the endpoint must know beside it: its connection, its key, who gets its events.
This module only remembers and finds. The endpoint sends messages and keeps time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from trunkproof.loadgen.sip.call import ConnectionId, Handler
from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.sip.screening import MergeKey, TransactionKey
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.loadgen.sip.transaction import Transaction

Peer = Hashable
"""An identity of the far end, as the adapter tells it. None where nobody told."""


@dataclass(eq=False, slots=True)
class Flight:
    """A transaction under way, its connection, its key, and the handler of its events."""

    transaction: Transaction
    key: TransactionKey
    connection_id: ConnectionId
    handler: Handler
    peer: Peer = None
    """Who is at the other end of the connection."""
    merge: MergeKey | None = None
    """The key by which a copy of a peer's request is recognised. None where there can be no copy."""
    call: ServerCall | None = None
    verbatim: tuple[str | None, str | None] | None = None
    """Via and CSeq of our own request, as they were written. None where we are the server."""
    scheduled_s: float | None = field(default=None)

    def next_timer(self) -> float | None:
        """Return when the transaction's timer is due, or None."""
        return self.transaction.next_timer()

    def handle_timer(self, now: float) -> None:
        """Let the transaction's timer fire if it is due."""
        self.transaction.handle_timer(now)


class Flights:
    """All transactions under way, as client and as server."""

    def __init__(self) -> None:
        self._clients: dict[TransactionKey, Flight] = {}
        self._servers: dict[tuple[TransactionKey, Peer], Flight] = {}
        self._merged: dict[tuple[MergeKey, Peer], Flight] = {}
        self._verbatim: dict[tuple[str | None, str | None], Flight] = {}
        self._all: dict[Transaction, Flight] = {}
        self._of_connection: Counter[ConnectionId] = Counter()

    def __bool__(self) -> bool:
        """Return whether any transaction is under way."""
        return any((self._all, self._clients, self._servers, self._merged, self._verbatim))

    def of(self, transaction: Transaction) -> Flight | None:
        """Return the flight of a transaction, or None once it is over."""
        return self._all.get(transaction)

    def server(self, key: TransactionKey, peer: Peer = None) -> Flight | None:
        """Return the flight of the peer's request with that key, or None (RFC 3261 section 17.2.3)."""
        # The peer is a part of the key: nobody can repeat, cancel or forestall a request of somebody else.
        return self._servers.get((key, peer))

    def serves(self, merge: MergeKey | None, peer: Peer = None) -> bool:
        """Return whether a copy of this request is under way, which came with another branch (section 8.2.2.2)."""
        return merge is not None and (merge, peer) in self._merged

    def client(self, response: Response) -> Flight | None:
        """Return the flight of our request that this response answers, or None (RFC 3261 section 17.1.3).

        Raises MalformedFieldError where Via or CSeq must be parsed and cannot be.
        """
        firsts = response.headers.firsts()
        # A response nearly always repeats Via and CSeq to the letter: one look-up then, and no parsing.
        flight = self._verbatim.get((firsts.get("Via"), firsts.get("CSeq")))
        if flight is None:
            flight = self._clients.get((response.via.branch, "", response.cseq.method))
        return flight

    def on(self, connection_id: ConnectionId) -> int:
        """Return how many transactions are under way on a connection."""
        return self._of_connection[connection_id]

    def enter(self, flight: Flight) -> None:
        """Remember a flight."""
        if flight.transaction not in self._all:
            self._of_connection[flight.connection_id] += 1
        self._all[flight.transaction] = flight
        if flight.verbatim is None:
            self._servers[flight.key, flight.peer] = flight
            if flight.merge is not None:
                self._merged[flight.merge, flight.peer] = flight
        else:
            # Two keys for one flight: as written for nearly all responses, as parsed for peers that write a Via in
            # their own way.
            self._clients[flight.key] = self._verbatim[flight.verbatim] = flight

    def drop(self, flight: Flight) -> bool:
        """Forget a flight. Return False where it was forgotten already."""
        # A handler may have ended the same transaction within one step.
        if self._all.pop(flight.transaction, None) is None:
            return False
        self._of_connection[flight.connection_id] -= 1
        # A zero for every connection that ever was would be a leak.
        if not self._of_connection[flight.connection_id]:
            del self._of_connection[flight.connection_id]
        if flight.verbatim is None:
            self._servers.pop((flight.key, flight.peer), None)
            if flight.merge is not None and self._merged.get((flight.merge, flight.peer)) is flight:
                del self._merged[flight.merge, flight.peer]
        else:
            self._clients.pop(flight.key, None)
            self._verbatim.pop(flight.verbatim, None)
        return True
