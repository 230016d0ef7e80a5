"""The guard decides where load may be sent: once before the first packet, and again for each call's audio.

- Loopback is always allowed.
- Any other host must be on the allow list, and the user must confirm a ceiling for the rate.
- The trunk operator's production needs a third, separate permission as well.

The guard decides and resolves names. It opens no socket to the target, and it does not limit the rate.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from trunkproof.models.errors import GuardError, StackError

PRODUCTION_DOMAINS = ("exotel.com", "exotel.in")
"""Domains of the trunk's operator. Everything there carries other people's calls."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Target:
    """A target that the guard has approved. We connect to `address`, so that no later lookup can lead elsewhere."""

    host: str
    address: str
    port: int


def resolve(host: str, port: int) -> list[str]:
    """Return all stream addresses of a host name, in the resolver's order.

    Raises:
        StackError: the name does not resolve.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: no possible name in DNS
        raise StackError(f"{host} does not resolve to an address: {error}; check its spelling and DNS") from error
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True)
class Guard:
    """What the user allows. `production=True` permits the operator's own names, and changes nothing else."""

    allowed: frozenset[str] = frozenset()
    """Host names or addresses outside loopback."""
    confirmed_calls_per_minute: float | None = None
    """The highest rate that the user has agreed to send outside loopback."""
    production: bool = False
    resolve: Annotated[Resolve, Field(exclude=True)] = field(default=resolve, repr=False)
    """Not handed to other processes: the target is resolved before there are any."""

    def check(self, host: str, port: int, calls_per_minute: float) -> Target:
        """Approve a target, and return it with its address.

        Raises:
            GuardError: it is not allowed. The message lists everything that is missing.
            StackError: the name does not resolve.
        """
        name = _canonical(host)
        if is_production(name) and not self.production:
            # This comes before the lookup: not even a DNS question shall leave the machine.
            raise GuardError(
                f"{name} is the operator's production, which carries other people's calls, so it is not called; "
                "if you really mean it, permit production explicitly, and also allow the host and confirm the rate"
            )
        address = _literal(name) or self._lookup(name, port)
        return self.check_found(name, str(address), port, calls_per_minute)

    def check_found(self, host: str, found: str, port: int, calls_per_minute: float) -> Target:
        """Approve one address that a lookup of the host gave. A later lookup may give another, so each is asked about.

        Raises:
            GuardError: it is not allowed.
        """
        name, address = _canonical(host), _literal(found)
        if address is None:
            raise GuardError(f"{name} resolves to {found!r}, which is no address")
        if is_production(name) and not self.production:
            raise GuardError(f"{name} is the operator's production; permit production explicitly")
        if not address.is_loopback:
            self._check_remote(name, address, calls_per_minute)
        return Target(name, str(address), port)

    def check_media(self, address: str, *targets: Target) -> str:
        """Approve the address where a peer's SDP wants our audio, and return it.

        It must be loopback, a signalling target itself, or on the allow list. So no SDP can send our audio elsewhere.

        Raises:
            GuardError: the address is not allowed, or is a name.
        """
        literal = _literal(_canonical(address))
        if literal is None:
            raise GuardError(f"the peer's SDP names {address!r} for its audio, but only addresses are used, not names")
        approved = any(literal == _literal(target.address) for target in targets)
        if not (approved or literal.is_loopback or self._allows(str(literal))):
            raise GuardError(
                f"the peer's SDP sends audio to {literal}, which is neither the target nor loopback; "
                f"put {literal} on the allow list if it is the trunk's media server"
            )
        return str(literal)

    def knows(self, address: str) -> bool:
        """Tell whether a numeric address is this machine's loopback, or on the allow list."""
        literal = _literal(_canonical(address))
        return literal is not None and (literal.is_loopback or self._allows(str(literal)))

    def _lookup(self, name: str, port: int) -> Address:
        for found in self.resolve(name, port):
            address = _literal(found)
            if address is not None:
                return address
        raise StackError(f"{name} does not resolve to an address")

    def _check_remote(self, name: str, address: Address, calls_per_minute: float) -> None:
        missing = []
        if not (self._allows(name) or self._allows(str(address))):
            missing.append(f"name it on the allow list ({name})")
        confirmed = self.confirmed_calls_per_minute
        # `not <=` and not `>`: a rate or a ceiling that is not a number (NaN) must be refused too.
        if confirmed is None or not calls_per_minute <= confirmed:
            missing.append(f"confirm a ceiling of at least {calls_per_minute:g} calls per minute")
        if missing:
            raise GuardError(f"{name} ({address}) is not on this machine; to call it, {' and '.join(missing)}")

    def _allows(self, host: str) -> bool:
        return host in {_canonical(entry) for entry in self.allowed}


LOOPBACK_ONLY = Guard()
"""What nobody need allow."""


def is_production(host: str) -> bool:
    """Return whether a host name lies in the trunk operator's domains."""
    name = _canonical(host)
    return any(name == domain or name.endswith(f".{domain}") for domain in PRODUCTION_DOMAINS)


def _canonical(host: str) -> str:
    """Return the one spelling of a host: lower case, no IPv6 brackets, no final dot, addresses in their short form."""
    name = host.strip().lower().removeprefix("[").removesuffix("]").rstrip(".")
    literal = _literal(name)
    return name if literal is None else str(literal)


def _literal(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
