"""The embedded trunk: a PoP in one process, with an edge, the study's limits, and the called side in the PSTN.

Its sockets and its TLS are real, and it terminates the audio and sends it anew. The dialled number names a row of the
plan, which says how the PSTN treats the call. `loadgen.parties.pstn` places the calls from the PSTN. `gate` has the
limits.

Whitelist first: a connection from an address on no whitelist never reaches the user agent. `parties.strangers` tells it
403, within limits. A source that is on some whitelist, but not on that of the trunk that its From names, is a customer:
`_admit` refuses it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from ipaddress import ip_address
from pathlib import Path

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, AudioFactory
from trunkproof.loadgen.parties.call_book import BookedReservation, CallBook
from trunkproof.loadgen.parties.incoming import Answerer, Reservation
from trunkproof.loadgen.parties.pstn import Pstn, PstnLine
from trunkproof.loadgen.parties.refusal import CallRefused
from trunkproof.loadgen.parties.strangers import StrangerRefuser
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.fields import MalformedFieldError, Uri
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.stacks.control import StackStatus
from trunkproof.loadgen.stacks.embedded.gate import Gate
from trunkproof.loadgen.stacks.stack import Finish, ServeOptions, customer_files
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.edges import EdgePools
from trunkproof.loadgen.tls.endpoints import Connector, TlsServer, serve_tls
from trunkproof.loadgen.tls.limiter import ConnectionLimiter
from trunkproof.loadgen.tls.pool import ConnectionPool
from trunkproof.models.edge_choice import EdgeChoice
from trunkproof.models.edges import Edge, EdgeDown
from trunkproof.models.plan import Plan, PlanRow, row_of
from trunkproof.models.records import ConnectionKind, Direction
from trunkproof.models.study import CarrierBrownOut, EdgeRestart
from trunkproof.models.traffic import TlsPolicy

UNPLANNED_RING_S = 1.0
"""How long a call to a number that no plan dials rings, where such calls are answered."""
_DEFAULTS = ServeOptions()


class EmbeddedTrunk:
    """One PoP, from `start` to `close`. Times are of the event loop's clock, the machine's monotonic one."""

    def __init__(self, plan: Plan, folder: Path, options: ServeOptions = _DEFAULTS) -> None:
        self.plan = plan
        self.study = plan.study
        self.host = str(self.study.pop.address)
        self.started = asyncio.get_running_loop().time()
        """The instant at which the windows of a fixed throttle begin."""
        self.gate = Gate(self.study, anchor=self.started)
        self.authority = Authority(folder / "certificates")
        self.audio = AudioFactory(self.host, self.study, at_trunk=True, check_media=options.guard.check_media)
        self.options = options
        self.keylog = options.keylog
        """The file to which TLS secrets are appended, to decode a capture. None: no file."""
        self._unplanned = itertools.count(max(plan.rows, default=-1) + 1)
        self.answerer = self.make_answerer()
        self._customer_of = lru_cache(maxsize=4096)(self._find_customer)
        self.limiter = ConnectionLimiter(self.is_whitelisted)
        """The limits of the edge's peers."""
        self._book: CallBook | None = None
        if options.on_call is not None:
            self._book = CallBook(self.started, options.on_call, self.study.trunks[0].name)
        self._strangers = StrangerRefuser(self.limiter, on_refused=self._refused_stranger, trace=options.trace)
        self._agent: SipAgent | None = None
        self._resuming: set[asyncio.Task[None]] = set()
        self._edges: list[TlsServer] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._pstn: Pstn | None = None

    def make_answerer(self) -> Answerer:
        """Return the called side in the PSTN, behind the gate."""
        return Answerer(self.plan.row_dialled, self._admit, self._unplanned_row if self.options.answer_any else None)

    def _unplanned_row(self, dialled: str) -> PlanRow:
        """Return the row of a call to a number that no plan dials: answered soon, up until its caller hangs up."""
        # The row is in the audio of the call and tells it from that of other calls. A number that another plan dials
        # names its own, so that the caller knows our voice.
        named = row_of(dialled)
        row = next(self._unplanned) if named is None else named
        return PlanRow.unplanned(row, 0, Direction.OUTBOUND, ring_s=UNPLANNED_RING_S)

    def is_whitelisted(self, address: str) -> bool:
        """Return whether any trunk's whitelist admits a source address."""
        return self._customer_of(address) is not None

    def _find_customer(self, address: str) -> int | None:
        """Return the index of the first trunk whose whitelist admits a source address. None for a stranger."""
        try:
            source = ip_address(address)
        except ValueError:
            return None  # no whitelist has such an address
        return next((index for index, trunk in enumerate(self.study.trunks) if trunk.admits(source)), None)

    def edge_certificate(self, edge: int = 0) -> CertificateFiles:
        """Return an edge's certificate, for its host name, the PoP's, and its address."""
        door = self.study.pop.doors[edge]
        return self.authority.issue(*dict.fromkeys((door.host, self.study.pop.host, self._address_of(door))))

    def _address_of(self, door: Edge) -> str:
        return str(door.address or self.host)

    async def start(self) -> TrunkCard:
        """Listen, and return the card that says where.

        Raises:
            OSError: the port is in use, or may not be used.
        """
        doors = self.study.pop.doors
        for index, door in enumerate(doors):
            address = self._address_of(door)
            # Edges of one address need ports of their own.
            port = 0 if any(address == edge.address[0] for edge in self._edges) else self.options.port
            context = self._edge_context(index)
            self._edges.append(await serve_tls(address, port, context, self._connected, limiter=self.limiter))
        # Made after listening: its Contact and Record-Route name the ports that we got.
        self._agent = SipAgent(
            self._user_agent(self.edge.address),
            random.Random(),
            on_invite=self._invited,
            on_event=None if self._book is None else self._book.happened,
            limiter=self.limiter,
            trace=self.options.trace,
            identify=self._customer_at,
            introduce=lambda connection: self._user_agent(connection.local),
        )
        places = [edge.address for edge in self._edges]
        listening = [
            door.model_copy(update={"address": ip_address(address), "port": port})
            for door, (address, port) in zip(doors, places, strict=True)
        ]
        return TrunkCard(
            server_name=doors[0].host,
            host=places[0][0],
            port=places[0][1],
            edges=tuple(listening) if self.study.pop.edges else (),
            transport=self.study.transport,
            ca_file=str(self.authority.ca_file.absolute()),
            customers=customer_files(self.study, self.authority),
            processes={"embedded": os.getpid()},
            study_digest=self.study.digest(),
        )

    def _user_agent(self, place: tuple[str, int]) -> UserAgent:
        """Return how the trunk introduces itself at an edge: its Contact names the edge, or the PoP."""
        by_name = self.study.pop.failover.record_route == "name"
        name = self.study.pop.host if by_name else None
        return UserAgent(*place, "trunkproof embedded trunk", name=name, transport=self.study.transport)

    @property
    def _is_tls(self) -> bool:
        return self.study.transport == "tls"

    def _edge_context(self, index: int) -> ssl.SSLContext | None:
        if not self._is_tls:
            return None
        return server_context(self.edge_certificate(index), ca_file=self.authority.ca_file, keylog=self.keylog)

    @property
    def edge(self) -> TlsServer:
        """Return the first listener of a started trunk."""
        if not self._edges:
            raise RuntimeError("the trunk has not been started")
        return self._edges[0]

    @property
    def agent(self) -> SipAgent:
        """Return the user agent of a started trunk."""
        if self._agent is None:
            raise RuntimeError("the trunk has not been started")
        return self._agent

    def begin(self, zero: float) -> dict[str, float]:
        """Set plan zero, and return the anchors by trunk name."""
        lines = [self._line_to(index) for index in range(len(self.study.trunks))]
        self._pstn = Pstn(self.plan, lines, self._admit_inbound, zero, self.options.observer)
        self._pstn.begin()
        self._schedule_incidents(zero)
        return {trunk.name: self.started - zero for trunk in self.study.trunks}

    def _line_to(self, index: int) -> PstnLine:
        """Return the line that goes straight to the customer's listener."""
        customers = self.study.trunks[index].inbound_edges
        context = client_context(self.authority.ca_file, keylog=self.keylog) if self._is_tls else None
        # The last edge calls: a customer has to know all of them, and not only the one that it prefers.
        place = self._edges[-1].address
        pools = [
            ConnectionPool(
                Connector(context, each.host, place[0]),
                # The guard is asked here too: no address of a study is called without it.
                self.options.guard.check(each.host, each.port, 0.0),
                TlsPolicy.PERSISTENT,
            )
            for each in customers
        ]
        recheck_s = self.study.pop.failover.recheck_s
        choice = EdgeChoice(customers, self.study.seed, recheck_s, "customer edge")
        edges = EdgePools(pools, choice, on_503=len(pools) > 1)
        return PstnLine(self.study, index, self.agent, edges, Place(*place), records_route=True)

    async def finish(self, *, stop: bool) -> Finish:
        """Return the records of the inbound calls. There is no health: the trunk itself is under test."""
        # A trunk that was never told plan zero has placed no calls.
        records = [] if self._pstn is None else await self._pstn.finish(stop=stop)
        return Finish(records, keys=self.audio.take_keys())

    def status(self) -> StackStatus:
        """Return what is in use now."""
        return StackStatus(
            calls=self.answerer.under_way,
            channels_used=self.gate.limits.carrier.used,
            ports_in_use=self.gate.limits.pool.in_use,
            handshakes={
                kind.value: sum(edge.handshakes[kind] for edge in self._edges)
                for kind in ConnectionKind
                if any(kind in edge.handshakes for edge in self._edges)
            },
            refused=self.limiter.refused,
        )

    async def close(self) -> None:
        """Close everything at once."""
        for timer in self._timers:
            timer.cancel()
        # First the calls, which use the audio and the connections that are closed after it.
        await self.answerer.close()
        self.audio.close()
        for edge in self._edges:
            await edge.close()
        if self._book is not None:
            self._book.close()
        self.authority.discard()

    def _schedule_incidents(self, zero: float) -> None:
        for incident in self.study.pop.incidents:
            match incident:
                case EdgeRestart(at_s=at_s, down_s=down_s):
                    self._at(zero + at_s, partial(_go_down, self._edges))
                    self._at(zero + at_s + down_s, partial(self._edges_come_back, incident))
                case EdgeDown(at_s=at_s, lasts_s=lasts_s, connects=connects):
                    edge = self._edges[self.study.pop.edge_of(incident)]
                    self._at(zero + at_s, edge.hold if connects == "time_out" else partial(_go_down, [edge]))
                    self._at(zero + at_s + lasts_s, partial(self._resume, [edge]))
                case CarrierBrownOut(at_s=at_s, lasts_s=lasts_s):
                    self._at(zero + at_s, partial(self._leave_channels, incident.channels))
                    self._at(zero + at_s + lasts_s, partial(self._leave_channels, None))

    def _at(self, instant: float, happens: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_at(instant, happens))

    def _edges_come_back(self, incident: EdgeRestart) -> None:
        # Before the edge listens again: the first call after the restart has to meet the new state.
        if incident.forgets_throttle:
            self.gate.limits.restart_throttles(self.now())
        self._resume(self._edges)

    def _resume(self, edges: Sequence[TlsServer]) -> None:
        for edge in edges:
            # Kept in a field, because the event loop holds tasks only weakly.
            task = asyncio.create_task(edge.resume())
            self._resuming.add(task)
            task.add_done_callback(self._resuming.discard)

    def _leave_channels(self, left: int | None) -> None:
        self.gate.limits.carrier.left = left

    def _connected(self, connection: Connection) -> None:
        # The address decides before a byte of SIP is read.
        if self.is_whitelisted(connection.peer[0]):
            self.agent.attach(connection)
        else:
            self._strangers.attach(connection)

    def _refused_stranger(self, invite: Request, source: str) -> None:
        if self._book is not None:
            self._book.refused_stranger(invite, self.now())

    def _customer_at(self, connection: Connection) -> int | str:
        """Return whose connection it is: a customer may have several hosts, which continue each other's calls."""
        address = connection.peer[0]
        customer = self._customer_of(address)
        if customer is None:
            customer = self._listens_there(address)
        # A stranger is nobody but itself.
        return address if customer is None else customer

    def _listens_there(self, address: str) -> int | None:
        """Return the trunk whose customer takes inbound calls at an address, from which it need not call."""
        listening = ([edge.host for edge in trunk.customer_edges] for trunk in self.study.trunks)
        return next((index for index, hosts in enumerate(listening) if address in hosts), None)

    def _invited(self, incoming: IncomingCall) -> None:
        if self._book is not None:
            self._book.came(incoming, self.now())
        self.answerer.take(self.agent, incoming)

    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> Reservation:
        """Admit an outbound INVITE: whitelist, throttle, ports and channels."""
        trunk = self._trunk_of(incoming)
        if (book := self._book) is None:
            self.gate.check_source(trunk, incoming.source)
            return await self._pass_limits(trunk, Direction.OUTBOUND, row, self._edge_of(incoming))
        book.asked(incoming, row, self.study.trunks[trunk].name, planned=row.row in self.plan.rows)
        try:
            self.gate.check_source(trunk, incoming.source)
            reservation = await self._pass_limits(trunk, Direction.OUTBOUND, row, self._edge_of(incoming))
        except CallRefused as refused:
            book.refused(incoming, refused)
            raise
        book.admitted(incoming, self.study.pop.ports.legs)
        return BookedReservation(reservation, incoming, book)

    async def _admit_inbound(self, row: PlanRow) -> TrunkReservation:
        """Admit a call from the PSTN: the same throttle, ports and channels."""
        return await self._pass_limits(row.trunk, Direction.INBOUND, row)

    def _edge_of(self, incoming: IncomingCall) -> int:
        return next((index for index, edge in enumerate(self._edges) if edge.address == incoming.local), 0)

    async def _pass_limits(self, trunk: int, direction: Direction, row: PlanRow, edge: int = 0) -> TrunkReservation:
        # The throttle comes first, as in the model: a call that it refuses or delays holds neither ports nor a
        # channel.
        delay_s = self.gate.throttle(trunk, direction, self.now(), edge)
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        if row.row not in self.plan.rows:
            # Only now it is known whose call this is. Codecs and suites are those of that trunk.
            row = row._replace(trunk=trunk)
        return TrunkReservation(self, trunk, row, self.gate.reserve(trunk, direction, self.now()))

    def _trunk_of(self, incoming: IncomingCall) -> int:
        """Return the index of the trunk whose account is in From.

        Several trunks may have that account. Then prefer the one of the caller's address, and next one whose whitelist
        admits it. An unknown account gets the first trunk.
        """
        # From names the trunk, the source address proves it: several trunks of one account may share a whitelist.
        source = ip_address(incoming.source)
        try:
            domain = Uri.parse(incoming.call.invite.from_.uri).host
        except MalformedFieldError:
            domain = ""  # such as a tel: URI, which has none
        named = [index for index, trunk in enumerate(self.study.trunks) if trunk.domain == domain]
        of_source = [index for index in named if self.study.trunks[index].customer_address == source]
        admitting = [index for index in named if self.study.trunks[index].admits(source)]
        return next(iter([*of_source, *admitting, *named]), 0)

    def now(self) -> float:
        """Return the time of the event loop's clock."""
        return asyncio.get_running_loop().time()


def _go_down(edges: Sequence[TlsServer]) -> None:
    for edge in edges:
        edge.drop_all()


class TrunkReservation:
    """What an admitted call holds: its ports and a channel of the carrier."""

    def __init__(self, trunk: EmbeddedTrunk, index: int, row: PlanRow, ports: tuple[int, ...]) -> None:
        self._trunk = trunk
        self._index = index
        self._row = row
        self._ports = ports

    def open_audio(self) -> Audio:
        """Return the trunk's side of the call's audio, on the first of its ports."""
        audio, _ = self._trunk.audio.open_on(self._ports[0], self._other_port, self._row)
        return audio

    def _other_port(self, taken: int) -> int | None:
        """Return another port for one that another program holds, or None."""
        other = self._trunk.gate.limits.pool.withdraw(taken, self._trunk.now())
        # Noted here, where it happens: `open_on` may still fail, and what we hold then must be given back, neither
        # more nor less.
        self._ports = (*(() if other is None else (other,)), *self._ports[1:])
        return other

    def close(self) -> None:
        """Release the ports and the channel."""
        self._trunk.gate.limits.give_back(self._index, self._ports, self._trunk.now())
