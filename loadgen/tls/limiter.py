"""Limit what the peers of a listener may take: connections, handshakes, time, size, requests.

Peers are of two kinds. A *known* peer is on a whitelist. A *stranger* is not, and gets no more than it takes to tell it
so. Each kind has limits for one address and for all addresses together, so that strangers cannot take what known peers
need, and no known peer can take all. Everything that is refused is counted.

Time is a parameter, and nothing here opens a socket. `endpoints` asks before it accepts a connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from trunkproof.loadgen.system.descriptors import open_file_limits


class Limit(StrEnum):
    """What was refused, or why a connection was closed."""

    BARRED = "connections of an address that is barred for a while"
    CONNECTIONS = "connections beyond those of one address"
    ALL_CONNECTIONS = "connections beyond those of all addresses"
    HALF_OPEN = "connections during too many unfinished handshakes of one address"
    ALL_HALF_OPEN = "connections during too many unfinished handshakes"
    DESCRIPTORS = "connections for want of file descriptors"
    HANDSHAKE_TIME = "handshakes not finished in time"
    MESSAGE_TIME = "messages not complete in time"
    MESSAGE_SIZE = "messages too long"
    IDLE_TIME = "connections without a message for too long"
    REQUESTS = "requests beyond the rate of one address"
    ALL_REQUESTS = "requests beyond the rate of all addresses"
    TRANSACTIONS = "INVITEs beyond the unfinished transactions of one connection"
    STRANGER = "connections of addresses that may not come in"


@dataclass(frozen=True, kw_only=True)
class PeerLimits:
    """The limits of one kind of peer."""

    connections: int
    """Connections of one address."""
    all_connections: int
    """Connections of all addresses of the kind."""
    half_open: int
    """Unfinished handshakes of one address."""
    all_half_open: int
    handshake_s: float
    """From the TCP connection to the end of the TLS handshake."""
    message_s: float
    """From the first byte of a message to its last."""
    message_bytes: int | None = None
    """None: as much as the parser takes."""
    idle_s: float | None = None
    """Between two messages. None: no limit, as a customer's connection may be quiet all night."""
    requests_per_s: int | None = None
    """Handshakes, keep-alives and requests of one address, except ACK. None: the trunk's throttle decides."""
    all_requests_per_s: int | None = None
    """The same of all addresses of the kind. It is kept in every tenth of a second (`BURST_S`)."""
    transactions: int | None = None
    """Transactions under way on one connection."""


def known_limits() -> PeerLimits:
    """Return the limits of known peers, for the file descriptors that this process may have."""
    files, _ = open_file_limits()
    return PeerLimits(
        # One connection per call is allowed, so a customer may need thousands. Half of all is left to the others.
        connections=max(1, files * 2 // 5),
        # The rest is for audio, which takes two descriptors a call, and for logs and programs.
        all_connections=max(1, files * 4 // 5),
        # After a restart of the edge all customers come back at once: as many as the kernel queues for us.
        half_open=2048,
        all_half_open=4096,
        # The time that a caller of ours allows for it, TCP included (`connection.CONNECT_TIMEOUT_S`).
        handshake_s=10.0,
        # 64*T1: whoever sent the message has given up by then (RFC 3261 timers B and F).
        message_s=32.0,
        # The most that was ever placed on this trunk, 9,000 calls a minute, make 4,800 in the 32 s that a refused
        # INVITE may wait for its ACK (timer H).
        transactions=10_000,
    )


def stranger_limits() -> PeerLimits:
    """Return the limits of strangers. They are there to be told 403, which takes one connection and one message."""
    return PeerLimits(
        # A customer whose address is missing from the whitelist opens a connection per call at worst, and closes it
        # after the 403.
        connections=100,
        # Each takes about 100 KiB of ours and of OpenSSL.
        all_connections=max(1, min(256, open_file_limits()[0] // 20)),
        half_open=32,
        all_half_open=128,
        # A handshake takes three round trips. 5 s are enough for a peer at the other end of the world.
        handshake_s=5.0,
        message_s=5.0,
        # An INVITE with SDP has 1 to 2 KiB.
        message_bytes=16_384,
        # Long enough for the ACK of the 403, if the peer's network loses packets.
        idle_s=32.0,
        # Thirty times the trunk's default throttle of 200 calls a minute, with a handshake for each call. A refusal
        # takes some 0.15 ms and a handshake 0.7 ms, so they cost at most 14 % of a core, and 14 ms at a time.
        requests_per_s=200,
        all_requests_per_s=200,
    )


BURST_S = 0.1
"""What strangers may take of a second, they may not take at once: customers' calls wait as long as a burst lasts."""
BARRED_S = 30.0
"""Whoever exceeds its rate is refused for this long before TLS begins. Other operators bar peers for 30 to 60 s."""
MOST_ADDRESSES = 10_000
"""Addresses without a connection that are remembered, because they are barred or were here this second."""


@dataclass(slots=True)
class _Use:
    """What one address, or all of a kind, use now."""

    connections: int = 0
    half_open: int = 0
    window: float = 0.0
    """When the present window of the rate began."""
    requests: int = 0
    barred_until: float = 0.0

    def request(self, now: float, per_s: int | None, window_s: float) -> bool:
        """Count a request. Return whether the rate allows it."""
        if now - self.window >= window_s:
            self.window, self.requests = now, 0
        self.requests += 1
        return per_s is None or self.requests <= per_s * window_s

    def idle(self, now: float) -> bool:
        """Tell whether nothing has to be remembered."""
        return not self.connections and self.barred_until <= now and now - self.window >= 1.0


@dataclass(eq=False)
class _Kind:
    limits: PeerLimits
    all: _Use = field(default_factory=_Use)


class ConnectionLimiter:
    """The limits of one listener. `is_known` tells known addresses from strangers; by default all are known.

    Strangers are admitted within their limits. A `Firewall` admits none.
    """

    def __init__(
        self,
        is_known: Callable[[str], bool] = lambda address: True,
        *,
        known: PeerLimits | None = None,
        strangers: PeerLimits | None = None,
    ) -> None:
        self.is_known = is_known
        self._kinds = {True: _Kind(known or known_limits()), False: _Kind(strangers or stranger_limits())}
        self._addresses: dict[str, _Use] = {}
        self.counts: Counter[tuple[bool, Limit]] = Counter()
        """(Whether the peer was known, limit) -> how often it was reached."""

    @property
    def refused(self) -> dict[str, int]:
        """Return in words what was refused -> how often."""
        return {f"{'customers' if known else 'strangers'}: {limit}": n for (known, limit), n in self.counts.items()}

    @property
    def addresses(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._addresses)

    def limits_of(self, address: str) -> PeerLimits:
        """Return the limits of an address."""
        return self._kinds[self.is_known(address)].limits

    def admit(self, address: str, now: float) -> Limit | None:
        """Take a new connection. Return None, or the limit that refuses it; then nothing was taken."""
        kind, use = self._kind_and_use(address, now)
        limits = kind.limits
        checks = (
            (use.barred_until > now, Limit.BARRED),
            (use.connections >= limits.connections, Limit.CONNECTIONS),
            (kind.all.connections >= limits.all_connections, Limit.ALL_CONNECTIONS),
            (use.half_open >= limits.half_open, Limit.HALF_OPEN),
            (kind.all.half_open >= limits.all_half_open, Limit.ALL_HALF_OPEN),
        )
        for exceeded, limit in checks:
            if exceeded:
                return self.reached(limit, address)
        # A handshake costs more than the request that follows it.
        if (refusal := self.request(address, now)) is not None:
            return refusal
        for each in (use, kind.all):
            each.connections += 1
            each.half_open += 1
        return None

    def handshaken(self, address: str) -> None:
        """Note that the handshake of an admitted connection is over, well or not."""
        kind, use = self._kind_and_use(address)
        use.half_open -= 1
        kind.all.half_open -= 1

    def left(self, address: str, now: float) -> None:
        """Note that an admitted connection is gone."""
        kind, use = self._kind_and_use(address)
        use.connections -= 1
        kind.all.connections -= 1
        if use.idle(now):
            self._addresses.pop(address, None)

    def request(self, address: str, now: float) -> Limit | None:
        """Count a request. Return None, or the limit that refuses it. An address beyond its own rate is barred."""
        kind, use = self._kind_and_use(address, now)
        if not use.request(now, kind.limits.requests_per_s, 1.0):
            use.barred_until = now + BARRED_S
            return self.reached(Limit.REQUESTS, address)
        if not kind.all.request(now, kind.limits.all_requests_per_s, BURST_S):
            return self.reached(Limit.ALL_REQUESTS, address)
        return None

    def reached(self, limit: Limit, address: str) -> Limit:
        """Count that an address reached a limit. Return the limit."""
        self.counts[self.is_known(address), limit] += 1
        return limit

    def _kind_and_use(self, address: str, now: float | None = None) -> tuple[_Kind, _Use]:
        use = self._addresses.get(address)
        if use is None:
            if now is not None and len(self._addresses) >= MOST_ADDRESSES:
                self._forget_idle(now)
            use = self._addresses[address] = _Use()
        return self._kinds[self.is_known(address)], use

    def _forget_idle(self, now: float) -> None:
        for address in [address for address, use in self._addresses.items() if use.idle(now)]:
            del self._addresses[address]


class Firewall(ConnectionLimiter):
    """The limits of a listener that takes known addresses only."""

    def admit(self, address: str, now: float) -> Limit | None:
        """Take a new connection of a known address. Return None, or why it is refused."""
        return super().admit(address, now) if self.is_known(address) else self.reached(Limit.STRANGER, address)
