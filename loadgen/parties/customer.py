"""Play one customer of the trunk: it calls out over its TLS connections, and its PBX answers inbound calls.

Each customer has its own source address, so one machine can play several of them.
"""

from __future__ import annotations

import random
from pathlib import Path
from types import TracebackType
from typing import Self

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.agent import IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, AudioFactory, codecs_of
from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.parties.incoming import Answerer
from trunkproof.loadgen.parties.numbers import exophone
from trunkproof.loadgen.schedule.share import WHOLE, Share
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.invite import Place, customer_offer, outbound_invite
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdp import SessionDescription
from trunkproof.loadgen.system.ports import cannot_listen, take_port
from trunkproof.loadgen.tls.certificates import CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError, TlsServer, serve_tls
from trunkproof.loadgen.tls.pool import ConnectionPool
from trunkproof.models.plan import Plan, PlanRow, dialled_number


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
    ) -> None:
        self._plan = plan
        self._index = index
        self._settings = plan.study.trunks[index]
        self._address = str(self._settings.customer_address)
        self._card = card
        self._listens = share.listens(index)
        self._target = target
        tls = self._settings.traffic.tls
        context = client_context(
            Path(card.ca_file),
            client_certificate=options.client_certificate,
            version=tls.version,
            keylog=options.keylog,
        )
        self.pool = ConnectionPool(
            Connector(context, card.server_name, self._address),
            target,
            tls.policy,
            tls.pool_size,
            resumes=tls.resumption_share > 0,
        )
        self.agent = SipAgent(
            UserAgent(self._address, self._settings.customer_port),
            random.Random(),
            on_invite=self._invited,
            trace=options.trace,
        )
        self.audio = AudioFactory(
            self._address,
            plan.study,
            at_trunk=False,
            check_media=lambda address: options.guard.check_media(address, target),
            ports=share.ports,
        )
        self.ports_per_call = plan.study.pop.ports.legs
        self.throttle_status = self._settings.throttle.refusal_status
        self.throttle_retries = self._settings.throttle.retry_after_s is not None
        self._answerer = Answerer(plan.rows, self._admit)
        self._listener: TlsServer | None = None
        self._caller: Caller | None = None

    @property
    def caller(self) -> Caller:
        """Return the caller that places the outbound calls. Plan zero must be known."""
        if self._caller is None:
            raise RuntimeError("plan zero is not known yet")
        return self._caller

    def begin(self, zero: float) -> None:
        """Set plan zero, on the event loop's clock."""
        self._caller = Caller(self, zero)

    async def __aenter__(self) -> Self:
        """Listen for calls from the trunk, if the study has inbound calls and this process answers them.

        Raises:
            StackError: this machine has no such address, or the port is in use.
        """
        who = f"the customer of {self._settings.name}"
        # This checks that the machine has the address, for a customer who only calls out too.
        take_port(who, self._address)
        files = self._card.customers.get(self._settings.name)
        if self._listens and self._settings.traffic.inbound_share > 0 and files is not None:
            certificate = CertificateFiles(Path(files.certificate), Path(files.key))
            # Behind a real PBX our answerer plays the telephones, and the PBX has the customer's port.
            port = files.phone_port or self._settings.customer_port
            try:
                self._listener = await serve_tls(self._address, port, server_context(certificate), self.agent.attach)
            except LocalNetworkError as error:
                raise cannot_listen(who, self._address, port, error.__cause__) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        # First: the tasks of these calls use the connections and the audio.
        await self._answerer.close()
        await self.pool.close()
        if self._listener is not None:
            await self._listener.close()
        self.audio.close()

    def open_audio(self, row: PlanRow) -> Audio:
        """Return audio on a free port pair of the customer."""
        return self.audio.open(row)

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """Return the customer's offer, with telephone-event 101 and `maxptime`."""
        codecs, suites = codecs_of(self._settings), self._settings.suites
        return customer_offer(audio.address, audio.port, audio.key, session_id=row.row, codecs=codecs, suites=suites)

    def invite(self, row: PlanRow, sdp: bytes) -> Request:
        """Return the customer's INVITE to the trunk."""
        return outbound_invite(
            self.agent.ids,
            dialled=dialled_number(row.row),
            exophone=exophone(self._index),
            account=self._settings.account,
            trunk=Place(self._target.address, self._target.port),
            customer=Place(self._address, self._settings.customer_port),
            sdp=sdp,
        )

    def _invited(self, incoming: IncomingCall) -> None:
        self._answerer.take(self.agent, incoming)

    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> TelephoneReservation:
        return TelephoneReservation(self, row)


class TelephoneReservation:
    """A telephone of the customer's PBX. There is always a free one."""

    def __init__(self, customer: Customer, row: PlanRow) -> None:
        self._customer = customer
        self._row = row

    def open_audio(self) -> Audio:
        """Return audio on a free port pair of the customer."""
        return self._customer.open_audio(self._row)

    def close(self) -> None:
        """Do nothing: only the audio is held."""
