"""Play one customer of the trunk: it calls out over its connections, and its PBX answers inbound calls.

Each customer has its own source address, so one machine can play several of them. It listens at the address that its
Contact names, for as long as it places calls: trunks send OPTIONS there, and requests inside a dialog whose connection
is gone.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import random
import ssl
import tempfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from trunkproof.loadgen.capture.recorder import Recorder
from trunkproof.loadgen.card import CustomerFiles, TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, AudioFactory, codecs_of
from trunkproof.loadgen.parties.call_book import BookedReservation, CallBook, OnCall
from trunkproof.loadgen.parties.called import ListedNumbers
from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.parties.doors import Doors
from trunkproof.loadgen.parties.first_hop import first_hop
from trunkproof.loadgen.parties.incoming import Answerer, Reservation
from trunkproof.loadgen.parties.numbers import exophone
from trunkproof.loadgen.parties.redirect import Redirector
from trunkproof.loadgen.schedule.share import WHOLE, Share
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.digest import Credentials
from trunkproof.loadgen.sip.invite import Place, customer_offer, outbound_invite
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdp import SessionDescription
from trunkproof.loadgen.system.ports import cannot_listen, take_port
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.edges import EdgePools
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError, TlsServer, serve_tls
from trunkproof.loadgen.tls.limiter import Firewall
from trunkproof.loadgen.tls.pool import ConnectionPool, Locate
from trunkproof.models.edge_choice import EdgeChoice
from trunkproof.models.errors import GuardError, InputError, Problem, StackError
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import Direction, FarEnd
from trunkproof.models.refusals import RefusalRules
from trunkproof.models.study import Study, Trunk

logger = logging.getLogger(__name__)

_PATIENCE_S = 60.0
"""How long a run waits at its end for callers of the inbound numbers to hang up."""
_LAST_WORDS_S = 4.0
"""How long it waits for their response to our BYE."""


def connector_of(
    trunk: Trunk, card: TrunkCard, server_name: str, options: RunOptions, recorder: Recorder | None = None
) -> Connector:
    """Return what opens a customer's connections. The check before a run uses it too, so both shake hands alike."""
    make_tap = None if recorder is None else partial(recorder.stream, calls_out=True)
    if trunk.transport == "tcp":
        return Connector(None, None, str(trunk.customer_address), make_tap=make_tap)
    context = client_context(
        None if card.ca_file is None else Path(card.ca_file),
        client_certificate=options.client_certificate,
        versions=trunk.traffic.tls.versions,
        keylog=options.keylog if recorder is None else recorder.secrets.path,
    )
    return Connector(context, server_name, str(trunk.customer_address), make_tap=make_tap)


def check_family(trunk: Trunk, target: Target) -> None:
    """Check that a trunk's customer has an address of the target's family.

    Raises:
        StackError: it has not.
    """
    ours, theirs = trunk.customer_address.version, ipaddress.ip_address(target.address).version
    if ours != theirs:
        raise StackError(
            f"the customer of {trunk.name} is at {trunk.customer_address} (IPv{ours}) and cannot reach the trunk at "
            f"{target.address} (IPv{theirs}): give it an IPv{theirs} address (customer_address)"
        )


def check_numbers(trunk: Trunk, target: Target) -> None:
    """Check that a customer may call out on that target: elsewhere than at home, only numbers that the study lists.

    Raises:
        GuardError: it may not. The message lists what is missing.
    """
    traffic = trunk.traffic
    if ipaddress.ip_address(target.address).is_loopback or traffic.inbound_share == 1 or traffic.is_silent:
        return
    missing = []
    if not traffic.destinations:
        missing.append("list the numbers to call (traffic.destinations), because made ones would ring at strangers'")
    if not traffic.callers:
        missing.append("list the Exophones to call as (traffic.callers)")
    if missing:
        raise GuardError(f"{target.host} is not on this machine; before {trunk.name} calls it, {' and '.join(missing)}")


def check_inbound(study: Study, card: TrunkCard) -> None:
    """Check that somebody places the inbound calls of a plan.

    Raises:
        InputError: nobody does, as the trunk is not ours. It names each trunk that has such calls.
    """
    problems = [
        Problem(
            where=f"trunks[{index}].traffic.inbound_share",
            what="a trunk that others run places no calls of a plan: write 0, and list the Exophones that shall answer "
            "under traffic.inbound",
        )
        for index, trunk in enumerate(study.trunks)
        if card.is_foreign and trunk.traffic.inbound_share > 0
    ]
    if problems:
        raise InputError(study.name, problems)


def credentials_of(trunk: Trunk) -> Credentials | None:
    """Return a customer's credentials, with the password from the environment, or None where the study has none.

    Raises:
        InputError: there is no such variable.
    """
    if trunk.credentials is None:
        return None
    name = trunk.credentials.password_env
    password = os.environ.get(name)
    if not password:
        what = f"is not set: it should have the password of {trunk.name} (credentials.password_env)"
        raise InputError("environment", [Problem(where=name, what=what)])
    return Credentials(trunk.credentials.username, password)


class Customer:
    """One customer, open inside its `async with` block. It is the `Line` of its own caller."""

    def __init__(
        self,
        plan: Plan,
        index: int,
        card: TrunkCard,
        target: Target,
        options: RunOptions,
        *,
        share: Share = WHOLE,
        recorder: Recorder | None = None,
        on_answered: OnCall | None = None,
    ) -> None:
        """Make a customer. `on_answered` is called with each call to its inbound numbers, when it is over."""
        self._plan = plan
        self._index = index
        self._settings = plan.study.trunks[index]
        self._address = str(self._settings.customer_address)
        self._told_address = str(self._settings.external_address or self._address)
        self._card = card
        self._listens = share.listens(index)
        self._options = options
        self.recorder = recorder
        rate = 60 * plan.calls / plan.study.duration_s
        # A proxy changes the first hop, and not the Request-URI.
        self._behind_proxy = Place(target.address, target.port)
        self._hop = first_hop(self._settings, target, card.server_name, options.guard, rate)
        near = self._hop.card(card)
        self._doors = Doors(near, self._hop.target, options.guard, rate, plan.study.pop.dns)
        failover = plan.study.pop.failover
        self._pools = EdgePools(
            [self._connections(place, door.host) for door, place in zip(near.doors, self._doors.places, strict=True)],
            EdgeChoice(near.doors, plan.study.seed, failover.recheck_s),
            on_503=failover.on_503,
        )
        self.redirector: Redirector | None = None
        if self._settings.follow_redirects:
            self.redirector = Redirector(
                options.guard,
                rate,
                self._connections,
                self._may_dial,
                transport=self._settings.transport,
                proxy=None if self._hop.route is None else self.pool,
            )
        self.audio = AudioFactory(
            self._address,
            plan.study,
            at_trunk=False,
            check_media=lambda address: options.guard.check_media(address, target, *self._doors.targets),
            ports=share.ports,
            told_address=self._told_address,
            recorder=recorder,
        )
        self.ports_per_call = plan.study.pop.ports.legs
        self.refusals = RefusalRules.of(self._settings.throttle, ours=not card.is_foreign)
        self.ring_patience_s = self._settings.traffic.ring_patience_s
        self.credentials = credentials_of(self._settings)
        self._inbound = ListedNumbers(plan, index, Direction.INBOUND)
        self._answerer = Answerer(plan.row_dialled, self._admit, listed=self._inbound.called)
        self._on_answered = on_answered
        self._book: CallBook | None = None
        # As the operator asks of a customer's firewall: only its trunk may come in.
        self._firewall = Firewall(self._may_call)
        self._listener: TlsServer | None = None
        self._others: list[TlsServer] = []
        """Where it listens beside its Contact."""
        self._agent: SipAgent | None = None
        self._is_taking = True
        """Whether it takes calls."""
        self._caller: Caller | None = None

    @property
    def name(self) -> str:
        """Return the name of its trunk."""
        return self._settings.name

    @property
    def pool(self) -> ConnectionPool:
        """Return the connections to the first edge."""
        return self._pools.pools[0]

    def edges(self, row: PlanRow) -> EdgePools:
        """Return the connections to all edges."""
        return self._pools

    @property
    def agent(self) -> SipAgent:
        """Return the user agent, inside the `async with` block."""
        if self._agent is None:
            raise RuntimeError("the customer does not listen yet")
        return self._agent

    @property
    def accepted(self) -> int:
        """Return how many connections others have opened to the address of our Contact."""
        return 0 if self._listener is None else self._listener.handshakes.total()

    @property
    def caller(self) -> Caller:
        """Return the caller that places the outbound calls. Plan zero must be known."""
        if self._caller is None:
            raise RuntimeError("plan zero is not known yet")
        return self._caller

    def begin(self, zero: float) -> None:
        """Set plan zero, on the event loop's clock."""
        self._caller = Caller(self, zero)
        if self._settings.traffic.inbound and self._on_answered is not None:
            self._book = CallBook(
                zero,
                self._on_answered,
                self._settings.name,
                direction=Direction.INBOUND,
                us="the customer",
                first_call=self._plan.calls,
            )

    def stop(self) -> None:
        """Place no more calls, and end all that are under way, of both directions."""
        self.caller.stop()
        if self._book is not None:
            self._book.stopping = True
            self._answerer.stop()

    async def finish(self) -> None:
        """Take no more calls at the inbound numbers, and wait for those under way. End those that last too long."""
        if self._book is None:
            return
        # A new call would meet an answerer that is about to go.
        self._is_taking = False
        await self._answerer.ended(_PATIENCE_S)
        self._book.stopping = True
        self._answerer.stop()
        await self._answerer.ended(_LAST_WORDS_S)

    async def __aenter__(self) -> Self:
        """Listen at the customer's port. If only outbound calls are planned, any other port will do as well.

        Raises:
            StackError: this machine has no such address, it is not of the trunk's family, or inbound calls are planned
                and the port cannot be had.
        """
        who = f"the customer of {self._settings.name}"
        for target in self._doors.targets:
            check_family(self._settings, target)
        # This checks that the machine has the address.
        take_port(who, self._address)
        files = self._card.customers.get(self._settings.name)
        # Behind a real PBX our answerer plays the telephones, and the PBX has the customer's port.
        port = (files.phone_port if files is not None else None) or self._settings.customer_port
        traffic = self._settings.traffic
        answers = self._listens and (traffic.inbound_share > 0 or bool(traffic.inbound))
        context = self._listener_context(files)
        try:
            # Only one of several workers can have the port. The Contact of the others names ports of their own.
            self._listener = await self._serve(self._address, port if self._listens else 0, context)
        except LocalNetworkError as error:
            if answers:
                raise cannot_listen(who, self._address, port, error.__cause__) from error
            self._listener = await self._serve(self._address, 0, context)
            other = self._listener.address[1]
            why = cannot_listen(who, self._address, port, error.__cause__)
            logger.warning("%s; it listens on port %d instead, and its Contact says so", why, other)
        if answers:
            await self._listen_beside(context)
        self._agent = SipAgent(
            UserAgent(self._told_address, self._listener.address[1], transport=self._settings.transport),
            random.Random(),
            on_invite=self._invited if answers else None,
            on_event=self._happened,
            trace=self._options.trace,
            on_message=None if self.recorder is None else self._captured,
            # A peer is the trunk, not one of its addresses: any edge may continue what another began.
            identify=lambda connection: self._peer_at(connection.peer[0]),
        )
        return self

    def _captured(self, connection: Connection, data: bytes, sent: bool) -> None:
        assert self.recorder is not None
        self.recorder.message(self._settings.name, connection, data, sent=sent)

    async def _listen_beside(self, context: ssl.SSLContext | None) -> None:
        """Listen at the other destinations of inbound calls. One that cannot be had is somebody else's."""
        for edge in self._settings.customer_edges:
            if (edge.host, edge.port) == (self._address, self._settings.customer_port):
                continue
            try:
                self._others.append(await self._serve(edge.host, edge.port, context))
            except LocalNetworkError as error:
                logger.warning("not ours to listen at, so inbound calls there are not answered: %s", error)

    async def _serve(self, address: str, port: int, context: ssl.SSLContext | None) -> TlsServer:
        make_tap = None if self.recorder is None else partial(self.recorder.stream, calls_out=False)
        return await serve_tls(address, port, context, self._connected, limiter=self._firewall, make_tap=make_tap)

    def _connected(self, connection: Connection) -> None:
        self.agent.attach(connection)

    def _peer_at(self, address: str) -> str:
        return "trunk" if address in self._doors.addresses else address

    def _may_call(self, address: str) -> bool:
        # Behind a foreign PBX the PBX calls us, from the customer's own address.
        known = {*self._doors.addresses, self._address}
        return address in known or any(ipaddress.ip_address(address) in network for network in self._settings.trusted)

    def _listener_context(self, files: CustomerFiles | None) -> ssl.SSLContext | None:
        """Return the context of the listener: the card's certificate, the user's own, or one made for this run.

        None for TCP.
        """
        if self._settings.transport == "tcp":
            return None
        keylog = None if self.recorder is None else self.recorder.secrets.path
        if files is not None:
            return server_context(CertificateFiles(Path(files.certificate), Path(files.key)), keylog=keylog)
        if self._options.client_certificate is not None:
            return server_context(self._options.client_certificate, keylog=keylog)
        with tempfile.TemporaryDirectory(prefix="trunkproof-") as folder:
            # OpenSSL has read the files when this returns, so the key need not stay on disk.
            return server_context(Authority(Path(folder)).issue(self._address), keylog=keylog)

    def _connections(self, target: Target | Locate, server_name: str) -> ConnectionPool:
        tls = self._settings.traffic.tls
        connector = connector_of(self._settings, self._card, server_name, self._options, self.recorder)
        return ConnectionPool(connector, target, tls.policy, tls.pool_size, resumes=tls.resumption_share > 0)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        # First: the tasks of these calls use the connections and the audio.
        await self._answerer.close()
        if self._book is not None:
            self._book.close()
        await self._pools.close()
        if self.redirector is not None:
            await self.redirector.close()
        for listener in (*self._others, *([] if self._listener is None else [self._listener])):
            await listener.close()
        if refused := self._firewall.refused:
            logger.warning("%s: %s", self._settings.name, "; ".join(f"{what}: {n}" for what, n in refused.items()))
        self.audio.close()

    def open_audio(self, row: PlanRow) -> Audio:
        """Return audio on a free port pair of the customer."""
        return self.audio.open(row)

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """Return the customer's offer, with telephone-event 101 and `maxptime`."""
        codecs, suites = codecs_of(self._settings), self._settings.suites
        return customer_offer(audio.address, audio.port, audio.key, session_id=row.row, codecs=codecs, suites=suites)

    def invite(self, row: PlanRow, sdp: bytes, edge: int = 0) -> Request:
        """Return the customer's INVITE to an edge of the trunk."""
        return outbound_invite(
            self.agent.ids,
            dialled=self._plan.dialled(row),
            exophone=self._exophone(row),
            domain=self._settings.domain,
            trunk=self._doors.place_of(edge) if self._hop.route is None else self._behind_proxy,
            customer=Place(self.agent.user_agent.host, self.agent.user_agent.port),
            sdp=sdp,
            request_host=self._settings.request_host,
            headers=self._settings.headers,
            transport=self._settings.transport,
            route=self._hop.route,
        )

    def _exophone(self, row: PlanRow) -> str:
        callers = self._settings.traffic.callers
        # In turn, by the call: its redials have the same caller.
        return callers[row.call % len(callers)] if callers else exophone(self._index)

    def far_end(self, row: PlanRow) -> FarEnd:
        """Return what the dialled number is expected to do."""
        return self._plan.far_end(row)

    def _may_dial(self, number: str) -> bool:
        """Tell whether a redirect may lead to this number: not to one that nobody wrote down."""
        where = self._plan.destinations[self._index]
        return not len(where) or where.has(number) or self._plan.row_dialled(number) is not None

    def _invited(self, incoming: IncomingCall) -> None:
        if not self._is_taking:
            self.agent.act(lambda now: incoming.call.reject(now, 480))
            return
        # The trunk's side has the records of the plan's inbound calls.
        if self._book is not None and self._plan.row_dialled(incoming.call.dialled) is None:
            self._book.came(incoming, asyncio.get_running_loop().time())
        self._answerer.take(self.agent, incoming)

    def _happened(self, event: events.CallEvent) -> None:
        if self._book is not None:
            self._book.happened(event)

    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> Reservation:
        if self.recorder is not None:
            self.recorder.begin(self._settings.name, row.row, incoming.call.invite.call_id, inbound=True)
        reservation = TelephoneReservation(self, row)
        if self._book is None or row.destination is None:
            return reservation
        self._book.listed(incoming, row, self._inbound.far_end(row))
        self._book.admitted(incoming, self.ports_per_call)
        return BookedReservation(reservation, incoming, self._book)


class TelephoneReservation:
    """A telephone of the customer's PBX. There is always a free one."""

    def __init__(self, customer: Customer, row: PlanRow) -> None:
        self._customer = customer
        self._row = row

    def open_audio(self) -> Audio:
        """Return audio on a free port pair of the customer."""
        return self._customer.open_audio(self._row)

    def close(self) -> None:
        """Tell a capture that the call is over: nothing else is held beside the audio."""
        if self._customer.recorder is not None:
            self._customer.recorder.left(self._customer.name, self._row.row)
