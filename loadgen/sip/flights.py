"""The transactions of a user agent that are under way: found by what a message says, and forgotten once they are over.

It moves no message and knows no time; the endpoint does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trunkproof.loadgen.sip.call import ConnectionId, Handler
from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.sip.screening import TransactionKey
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.loadgen.sip.transaction import Transaction


@dataclass(eq=False, slots=True)
class Flight:
    """A transaction under way: where it runs, under which key, and whom its events concern."""

    transaction: Transaction
    key: TransactionKey
    connection_id: ConnectionId
    handler: Handler
    call: ServerCall | None = None
    verbatim: tuple[str | None, str | None] | None = None
    """Via and CSeq of our own request as it was written; None where we are the server."""
    scheduled_s: float | None = field(default=None)

    def next_timer(self) -> float | None:
        """When it next wants to be woken, if at all."""
        return self.transaction.next_timer()

    def handle_timer(self, now: float) -> None:
        """It was woken at `now`."""
        self.transaction.handle_timer(now)


class Flights:
    """All of them, of both kinds."""

    def __init__(self) -> None:
        self._clients: dict[TransactionKey, Flight] = {}
        self._servers: dict[TransactionKey, Flight] = {}
        self._verbatim: dict[tuple[str | None, str | None], Flight] = {}
        self._all: dict[Transaction, Flight] = {}

    def __bool__(self) -> bool:
        """Whether anything is remembered."""
        return any((self._all, self._clients, self._servers, self._verbatim))

    def of(self, transaction: Transaction) -> Flight | None:
        """That transaction's, while it is under way."""
        return self._all.get(transaction)

    def server(self, key: TransactionKey) -> Flight | None:
        """Of the peer's request with that key (RFC 3261 section 17.2.3)."""
        return self._servers.get(key)

    def client(self, response: Response) -> Flight | None:
        """Of our request that this answers (RFC 3261 section 17.1.3)."""
        firsts = response.headers.firsts()
        # A response nearly always repeats Via and CSeq to the letter; where it does not, they have to be read.
        flight = self._verbatim.get((firsts.get("Via"), firsts.get("CSeq")))
        if flight is None:
            flight = self._clients.get((response.via.branch, "", response.cseq.method))
        return flight

    def enter(self, flight: Flight) -> None:
        """Remember it."""
        self._all[flight.transaction] = flight
        if flight.verbatim is None:
            self._servers[flight.key] = flight
        else:
            self._clients[flight.key] = self._verbatim[flight.verbatim] = flight

    def drop(self, flight: Flight) -> bool:
        """Forget it; whether it was remembered."""
        if self._all.pop(flight.transaction, None) is None:
            return False
        if flight.verbatim is None:
            self._servers.pop(flight.key, None)
        else:
            self._clients.pop(flight.key, None)
            self._verbatim.pop(flight.verbatim, None)
        return True
