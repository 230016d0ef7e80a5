"""Look names up in DNS, and keep the answers as long as their TTL says (RFC 1035, RFC 2782, RFC 3263).

The resolver of the C library does not tell a TTL, so dnspython asks.
What DNS does not know is asked of this machine, whose table of hosts may have it; that answer is not kept.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket

import dns.exception
import dns.name
import dns.rdtypes.IN.SRV
import dns.resolver

from trunkproof.models.edges import Dns, Edge
from trunkproof.models.errors import StackError

logger = logging.getLogger(__name__)

SERVICE = "_sips._tcp"
"""SIP over TLS over TCP, as RFC 3263 section 4.1 names it."""
_LIFETIME_S = 5.0
"""How long a question may take with all its repetitions."""


class Names:
    """A resolver with its cache. It asks the name server of the study, else those of this machine."""

    def __init__(self, settings: Dns = Dns()) -> None:  # noqa: B008  # immutable
        self._settings = settings
        self._cache = dns.resolver.Cache()

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return what `resolve` does. The calls go on meanwhile.

        Raises:
            StackError: the name does not resolve.
        """
        return await asyncio.to_thread(self.resolve, host, port)

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, those of IPv4 first. An address is its own.

        Raises:
            StackError: the name does not resolve.
        """
        if _is_address(host):
            return [host]
        found: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                answer = self._resolver().resolve(_absolute(host), kind, lifetime=_LIFETIME_S, search=False)
            except (dns.exception.DNSException, OSError) as error:
                logger.debug("no %s record of %s: %s", kind, host, error)
                continue
            found += [str(record.address) for record in answer]
        return found or _known_here(host, port)

    def edges(self, domain: str) -> tuple[Edge, ...]:
        """Return the edges that the SRV records of a domain name, those of the lowest priority first.

        Raises:
            StackError: it has none, or they cannot be asked for.
        """
        try:
            answer = self._resolver().resolve(
                _absolute(f"{SERVICE}.{domain}"), "SRV", lifetime=_LIFETIME_S, search=False
            )
        except (dns.exception.DNSException, OSError) as error:
            raise StackError(f"no SRV records {SERVICE}.{domain}: {error}; check the domain and DNS") from error
        records = [record for record in answer if isinstance(record, dns.rdtypes.IN.SRV.SRV)]
        # A target of "." says that the service is not there (RFC 2782).
        offered = [record for record in records if record.target != dns.name.root]
        if not offered:
            raise StackError(f"{SERVICE}.{domain} says that there is no such service")
        edges = [
            Edge(
                host=record.target.to_text(omit_final_dot=True),
                port=record.port,
                priority=record.priority,
                weight=record.weight,
            )
            for record in offered
        ]
        return tuple(sorted(edges, key=lambda edge: (edge.priority, -edge.weight, edge.host, edge.port)))

    def _resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=self._settings.server is None)
        if self._settings.server is not None:
            resolver.nameservers, resolver.port = [str(self._settings.server)], self._settings.port
        resolver.cache = self._cache
        return resolver


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _known_here(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StackError(f"{host} does not resolve to an address: {error}; check its spelling and DNS") from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
