"""Find out where a redirected call goes on (3xx; RFC 3261 sections 8.1.3.4 and 21.3).

A redirect is the peer's wish to send our load elsewhere. So it is followed only if the study says so, only to addresses
that the guard approves, over the transport of the trunk, and only `MOST` times for one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.sip.fields import MalformedFieldError, NameAddr, Uri
from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.tls.pool import ConnectionPool
from trunkproof.models.errors import GuardError, RemoteError, StackError
from trunkproof.models.study import USUAL_PORT, Transport

MOST = 5
"""Redirects of one call. RFC 3261 names no number; section 8.1.3.4 only asks not to try an address twice."""


class RedirectError(RemoteError):
    """The call cannot go on where the peer sent it. The message says why."""


@dataclass(frozen=True, slots=True)
class Redirection:
    """Where a call goes on."""

    uri: str
    pool: ConnectionPool


@dataclass(slots=True)
class Redirector:
    """Decides about the redirects of one customer, and owns the connections to the addresses that these name.

    `connections` opens a pool to an approved target, whose certificate must be for the given name.
    """

    guard: Guard
    calls_per_minute: float
    connections: Callable[[Target, str], ConnectionPool]
    may_dial: Callable[[str], bool] = lambda number: True
    """Whether a number may be dialled, wherever it is."""
    transport: Transport = "tls"
    """What carries SIP on this trunk. A redirect to another transport is not followed."""
    proxy: ConnectionPool | None = None
    """The connections to the outbound proxy, which redirected calls take too. None: they go straight to the target."""
    _pools: dict[Target, ConnectionPool] = field(default_factory=dict)

    async def follow(self, response: Response, tried: list[str]) -> Redirection:
        """Return where a call goes on after this response. `tried` has the Request-URIs so far.

        Raises:
            RedirectError: nowhere.
        """
        if len(tried) > MOST:
            raise RedirectError(f"redirected more than {MOST} times")
        fresh = [uri for uri in contacts(response) if str(uri) not in tried]
        if not fresh:
            raise RedirectError("the redirect names no address that is new")
        refused: list[str] = []
        for uri in fresh:
            if not self.may_dial(uri.user):
                refused.append("the redirect names a number that the study does not list")
                continue
            try:
                return Redirection(str(uri), await self._pool(uri))
            except (MalformedFieldError, GuardError, StackError) as error:
                refused.append(str(error))
        raise RedirectError("; ".join(refused))

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.close()

    async def _pool(self, uri: Uri) -> ConnectionPool:
        wanted = uri.params.get("transport", self.transport).lower()
        if uri.scheme not in {"sip", "sips"} or wanted != self.transport:
            raise MalformedFieldError(f"the redirect names an address that is not SIP over {self.transport.upper()}")
        # In a thread, because it may look a name up, and other calls must not wait for a name server.
        port = uri.port or USUAL_PORT[self.transport]
        target = await asyncio.to_thread(self.guard.check, uri.host, port, self.calls_per_minute)
        if self.proxy is not None:
            return self.proxy
        if target not in self._pools:
            self._pools[target] = self.connections(target, target.host)
        return self._pools[target]


def contacts(response: Response) -> list[Uri]:
    """Return the URIs of a response's Contacts, those with the highest `q` first (RFC 3261 section 20.10).

    Contacts that cannot be read, or could not stand in a request line, are left out.
    """
    found: list[tuple[float, Uri]] = []
    for value in response.headers.elements("Contact"):
        try:
            address = NameAddr.parse(value)
            uri, preference = Uri.parse(address.uri), float(address.params.get("q", "1"))
        except (MalformedFieldError, ValueError):
            continue
        if str(uri).isprintable() and " " not in str(uri):
            found.append((preference, uri))
    return [uri for _, uri in sorted(found, key=lambda one: -one[0])]
