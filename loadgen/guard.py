"""The guard: where load may be sent, decided before the first packet and once more for each call's audio.

Loopback is free. Anything else needs its name on the allow list and a confirmed ceiling, and the trunk operator's
production needs a third, separate word. It decides and resolves; it opens no socket to the target and limits no rate.
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
"""Domains of the trunk's operator: whatever runs there carries other people's calls."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Target:
    """A place that the guard has approved: `address` is what is connected to, so that no later lookup can move it."""

    host: str
    address: str
    port: int


def resolve(host: str, port: int) -> list[str]:
    """All stream addresses of a host name, in the resolver's order. Raises StackError where there is none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: not a name that DNS could hold
        raise StackError(f"{host} does not resolve: {error}") from error
    return [str(sockaddr[0]) for *_, sockaddr in found]


@dataclass(frozen=True)
class Guard:
    """What the user allows. `production=True` lifts the refusal of the operator's own names, and nothing else."""

    allowed: frozenset[str] = frozenset()
    """Host names or addresses outside loopback."""
    confirmed_calls_per_minute: float | None = None
    """The highest rate the user has agreed to send outside loopback."""
    production: bool = False
    resolve: Annotated[Resolve, Field(exclude=True)] = field(default=resolve, repr=False)
    """Not handed to other processes: the target is resolved before there are any."""

    def check(self, host: str, port: int, calls_per_minute: float) -> Target:
        """The approved target, resolved; raises GuardError with all that is missing, StackError for an unknown name."""
        name = _canonical(host)
        if is_production(name) and not self.production:
            # Before the lookup: not even a DNS question is to leave the machine.
            raise GuardError(
                f"{name} is the operator's production and is not called by default; "
                "if that is really meant, say production explicitly, besides allowing and confirming it"
            )
        address = _literal(name) or self._lookup(name, port)
        if not address.is_loopback:
            self._check_remote(name, address, calls_per_minute)
        return Target(name, str(address), port)

    def check_media(self, address: str, target: Target | None = None) -> str:
        """The address where audio may be sent, as a peer's SDP gave it; raises GuardError.

        It must be loopback, the signalling target itself, or on the allow list: no SDP can send our audio elsewhere.
        """
        literal = _literal(_canonical(address))
        if literal is None:
            raise GuardError(f"the peer's SDP names {address!r} for its audio: only addresses are followed, not names")
        approved = literal == _literal(target.address) if target is not None else False
        if not (approved or literal.is_loopback or self._allows(str(literal))):
            raise GuardError(
                f"the peer's SDP sends audio to {literal}, which is neither the target nor loopback; "
                f"put {literal} on the allow list if it is the trunk's media server"
            )
        return str(literal)

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
        # Written so that a rate or a ceiling that is no number (NaN) is refused.
        if confirmed is None or not calls_per_minute <= confirmed:
            missing.append(f"confirm a ceiling of at least {calls_per_minute:g} calls per minute")
        if missing:
            raise GuardError(f"{name} ({address}) is not on this machine; to call it, {' and '.join(missing)}")

    def _allows(self, host: str) -> bool:
        return host in {_canonical(entry) for entry in self.allowed}


LOOPBACK_ONLY = Guard()
"""What nobody need allow."""


def is_production(host: str) -> bool:
    """Whether the name lies in the trunk operator's domains."""
    name = _canonical(host)
    return any(name == domain or name.endswith(f".{domain}") for domain in PRODUCTION_DOMAINS)


def _canonical(host: str) -> str:
    """One spelling for one host: lower case, no brackets around IPv6, no root dot, addresses in their short form."""
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
