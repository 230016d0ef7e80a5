"""The check of one edge of a trunk: its name, TCP, TLS with certificate and resumption, and OPTIONS.

Everything is tried as the customer's calls will be: from its address, with its TLS versions and certificate.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from trunkproof.experiments.target.check.findings import CheckName, Checks
from trunkproof.experiments.target.check.wiretap import Trail, Wiretap
from trunkproof.experiments.target.remedies import PathFault, Status
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.agent import SipAgent
from trunkproof.loadgen.parties.customer import check_family, connector_of
from trunkproof.loadgen.sip.events import ProbeAnswered
from trunkproof.loadgen.sip.fields import uri_host
from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.tls.certificates import client_context
from trunkproof.loadgen.tls.connection import ConnectError, ConnectFailure, Connection
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError
from trunkproof.models.errors import StackError
from trunkproof.models.faults import TlsAlert
from trunkproof.models.records import ConnectionKind
from trunkproof.models.study import Trunk

OPTIONS_WAIT_S = 5.0
_TICKET_WAIT_S = 0.2
"""TLS 1.3 sends the session after the handshake (RFC 8446 section 4.6.1)."""
_ENDS_SOON = timedelta(days=30)
_AFTER_TCP = (CheckName.TLS, CheckName.CERTIFICATE, CheckName.RESUMPTION, CheckName.OPTIONS)


@dataclass(frozen=True, slots=True)
class Door:
    """An edge to check: where it is, and the name that its certificate must have."""

    host: str
    port: int
    server_name: str

    def __str__(self) -> str:
        return f"{uri_host(self.host)}:{self.port}"


@dataclass
class EdgeFound:
    """What is known of an edge after its check."""

    checks: Checks
    target: Target | None = None
    is_reached: bool = False
    """TCP was connected."""
    is_open: bool = False
    """A connection of SIP can be made."""
    options: Trail | None = None
    answer: ProbeAnswered | None = None
    alert: TlsAlert | None = None
    """With what the edge ended the connection, where it did."""


class EdgeCheck:
    """Checks edges of one trunk."""

    def __init__(self, trunk: Trunk, card: TrunkCard, options: RunOptions, per_minute: float) -> None:
        self._trunk, self._card, self._options, self._per_minute = trunk, card, options, per_minute

    async def check(self, door: Door, agent: SipAgent, tap: Wiretap) -> EdgeFound:
        """Check one edge.

        Raises:
            GuardError: it may not be called.
        """
        found = EdgeFound(Checks(f"edge {door}"))
        target = await self._resolve(door, found.checks)
        if target is None:
            found.checks.not_tried("the name does not resolve", CheckName.TCP, *_AFTER_TCP)
            return found
        found.target = target
        connector = connector_of(self._trunk, self._card, door.server_name, self._options)
        try:
            check_family(self._trunk, target)
            connection = await connector.connect(target.address, target.port)
        except (StackError, LocalNetworkError) as error:
            found.checks.broken(CheckName.TCP, f"this machine: {error}")
            found.checks.not_tried("no connection", *_AFTER_TCP)
            return found
        except ConnectError as error:
            found.is_reached = await self._not_connected(door, target, found.checks, error)
            return found
        found.is_reached = found.is_open = True
        found.checks.holds(CheckName.TCP, f"connected in {1000 * connection.tcp_s:.1f} ms")
        if connection.version:
            await self._secure(door, target, connector, connection, found.checks)
        else:
            why = "the trunk is called over TCP"
            found.checks.not_tried(why, CheckName.TLS, CheckName.CERTIFICATE, CheckName.RESUMPTION)
        await self._options_to(door, connection, agent, tap, found)
        connection.close()
        await connection.wait_closed()
        return found

    async def _resolve(self, door: Door, checks: Checks) -> Target | None:
        guard = self._options.guard
        try:
            # In a thread: a name server may take seconds.
            target = await asyncio.to_thread(guard.check, door.host, door.port, self._per_minute)
            addresses = await asyncio.to_thread(_addresses, guard, door)
        except StackError as error:
            checks.broken(CheckName.NAME, str(error), PathFault.NAME_UNKNOWN)
            return None
        others = [address for address in addresses if address != target.address]
        also = f", and {', '.join(others)}" if others else ""
        seen = "is an address" if target.host == target.address else f"{target.address}{also}"
        checks.holds(CheckName.NAME, seen)
        return target

    async def _not_connected(self, door: Door, target: Target, checks: Checks, error: ConnectError) -> bool:
        """Add why no connection could be made. Return whether TCP was connected."""
        if error.failure in {ConnectFailure.CERTIFICATE, ConnectFailure.TLS, ConnectFailure.RESET}:
            checks.holds(CheckName.TCP, "connected")
            if error.certificate is None:
                checks.broken(CheckName.TLS, error.detail, error.alert, error.failure)
                checks.not_tried("TLS failed", CheckName.CERTIFICATE, CheckName.RESUMPTION, CheckName.OPTIONS)
                return True
            checks.holds(CheckName.TLS, "the server takes our versions and ciphers")
            told = await self._certificate(door, target)
            words = f"{error.detail}; {_described(told)}" if told is not None else error.detail
            checks.broken(CheckName.CERTIFICATE, words, error.certificate, error.failure)
            checks.not_tried("the certificate is not accepted", CheckName.RESUMPTION, CheckName.OPTIONS)
            return True
        checks.broken(CheckName.TCP, error.detail, error.failure)
        checks.not_tried("no connection", *_AFTER_TCP)
        return False

    async def _secure(
        self, door: Door, target: Target, connector: Connector, connection: Connection, checks: Checks
    ) -> None:
        checks.holds(
            CheckName.TLS, f"{connection.version}, {connection.cipher}, handshake {1000 * connection.tls_s:.1f} ms"
        )
        told = await self._certificate(door, target)
        if told is None:
            checks.not_tried("it could not be read", CheckName.CERTIFICATE)
        elif told.not_valid_after_utc - datetime.now(UTC) < _ENDS_SOON:
            checks.remark(CheckName.CERTIFICATE, _described(told), PathFault.CERTIFICATE_ENDS_SOON)
        else:
            checks.holds(CheckName.CERTIFICATE, f"for {door.server_name}, chain accepted; {_described(told)}")
        await asyncio.sleep(_TICKET_WAIT_S)
        await self._resume(target, connector, connection, checks)

    async def _resume(self, target: Target, connector: Connector, connection: Connection, checks: Checks) -> None:
        if connection.session is None:
            checks.remark(CheckName.RESUMPTION, "the server gave no session", PathFault.NO_RESUMPTION)
            return
        try:
            again = await connector.connect(target.address, target.port, session=connection.session)
        except (ConnectError, LocalNetworkError) as error:
            checks.remark(CheckName.RESUMPTION, f"a second connection failed: {error}", PathFault.NO_RESUMPTION)
            return
        if again.kind is ConnectionKind.RESUMED:
            checks.holds(CheckName.RESUMPTION, f"resumed, handshake {1000 * again.tls_s:.1f} ms")
        else:
            checks.remark(CheckName.RESUMPTION, "a second connection made a full handshake", PathFault.NO_RESUMPTION)
        again.close()
        await again.wait_closed()

    async def _certificate(self, door: Door, target: Target) -> x509.Certificate | None:
        """Read the edge's certificate without judging it: one that is refused must be described too."""
        context = client_context(
            None,
            client_certificate=self._options.client_certificate,
            versions=self._trunk.traffic.tls.versions,
            verify=False,
        )
        name = None if _is_address(door.server_name) else door.server_name
        try:
            async with asyncio.timeout(OPTIONS_WAIT_S):
                _, writer = await asyncio.open_connection(
                    target.address,
                    target.port,
                    ssl=context,
                    server_hostname=name or "",
                    local_addr=(str(self._trunk.customer_address), 0),
                )
        except (OSError, TimeoutError):
            return None
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        writer.transport.abort()
        try:
            return None if der is None else x509.load_der_x509_certificate(der)
        except ValueError:
            return None

    async def _options_to(
        self, door: Door, connection: Connection, agent: SipAgent, tap: Wiretap, found: EdgeFound
    ) -> None:
        agent.attach(connection)
        host = self._trunk.request_host or f"{uri_host(door.host)}:{door.port}"
        try:
            answer = await asyncio.wait_for(agent.options(connection, f"sip:{host}"), OPTIONS_WAIT_S)
        except TimeoutError:
            found.checks.remark(CheckName.OPTIONS, f"no answer in {OPTIONS_WAIT_S:g} s", PathFault.NO_OPTIONS)
            return
        found.answer, found.options = answer, tap.newest("OPTIONS")
        if answer.response is None:
            closed = connection.closed
            found.alert = None if closed is None else closed.alert
            words = (
                f"the connection was closed: {closed.detail or closed.reason}" if closed is not None else "no answer"
            )
            found.checks.broken(CheckName.OPTIONS, words, found.alert, ConnectFailure.RESET)
            found.is_open = found.alert is None
            return
        after_ms = 1000 * next((after_s for after_s, _ in found.options.responses("OPTIONS")), 0.0)
        seen = f"{answer.status} {answer.response.reason} after {after_ms:.1f} ms{_product(answer.response)}"
        if answer.status in {401, 403, 407}:
            # The calls say more: some trunks refuse only OPTIONS.
            found.checks.remark(CheckName.OPTIONS, seen, Status(answer.status))
        else:
            found.checks.holds(CheckName.OPTIONS, seen)


def _product(response: Response) -> str:
    product = response.headers.get("Server") or response.headers.get("User-Agent")
    return f", {product[:60]}" if product else ""


def _addresses(guard: Guard, door: Door) -> Sequence[str]:
    return [] if _is_address(door.host) else list(dict.fromkeys(guard.resolve(door.host, door.port)))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _described(certificate: x509.Certificate) -> str:
    """Return names, issuer and dates of a certificate."""
    ends = certificate.not_valid_after_utc
    left = (ends - datetime.now(UTC)).days
    when = f"ends {ends:%Y-%m-%d}, {left} days left" if left >= 0 else f"ended {ends:%Y-%m-%d}, {-left} days ago"
    issuer = _common_name(certificate.issuer)
    return f"names {', '.join(_names(certificate)) or 'none'}; issued by {issuer}; {when}"


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return [_common_name(certificate.subject)]
    names = extension.value
    assert isinstance(names, x509.SubjectAlternativeName)
    return [str(name.value) for name in names]


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME) or name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else "nobody that it names"
