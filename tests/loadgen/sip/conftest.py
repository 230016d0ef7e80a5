"""Two endpoints joined by a wire of bytes and a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.client_call import ClientCall
from trunkproof.loadgen.sip.endpoint import SipEndpoint
from trunkproof.loadgen.sip.events import Event
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.invite import Place, customer_offer, outbound_invite
from trunkproof.loadgen.sip.message import Request, Response, response_to, serialize
from trunkproof.loadgen.sip.parser import StreamParser
from trunkproof.loadgen.sip.sdp import write_sdp
from trunkproof.loadgen.sip.server_call import IncomingInvite, ServerCall
from trunkproof.loadgen.sip.session_timer import SessionTimer

CUSTOMER = Place("127.0.0.2", 5061)
TRUNK = Place("127.0.0.1", 5443)
Message = Request | Response


def is_status(status: int) -> Callable[[Message], bool]:
    """For `Pair.lose`: responses of that status."""
    return lambda message: isinstance(message, Response) and message.status == status


def is_method(method: str) -> Callable[[Message], bool]:
    """For `Pair.lose`: requests of that method."""
    return lambda message: isinstance(message, Request) and message.method == method


class ScriptedNegotiator:
    """Answers what it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, ...]] = []
        self.answers: bytes | None = b"our answer"
        self.fault: str | None = None

    def answer(self, offer: bytes, dialog: str) -> bytes | None:
        self.notes.append(("answer", offer.decode(), dialog))
        return self.answers

    def offer(self, dialog: str) -> bytes:
        self.notes.append(("offer", dialog))
        return b"our offer"

    def accept(self, offer: bytes, answer: bytes, dialog: str) -> str | None:
        self.notes.append(("accept", answer.decode(), dialog))
        return self.fault if answer else "no session description"

    def confirm(self, dialog: str) -> None:
        self.notes.append(("confirm", dialog))


def _typed(body: bytes) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", "application/sdp"),) if body else ()


class Far:
    """A foreign peer of one endpoint of ours, which writes its messages row by row."""

    def __init__(self, endpoint: SipEndpoint) -> None:
        self.endpoint = endpoint
        self.branches = 0
        self.invite: Request | None = None

    def said(self) -> list[Message]:
        """What our endpoint has sent since the last time."""
        messages = []
        for _, data in self.endpoint.messages_to_send():
            parser = StreamParser()
            parser.receive_data(data)
            message = parser.next_message()
            assert message is not None
            messages.append(message)
        return messages

    def respond(
        self, request: Request, status: int, now: float, *rows: tuple[str, str], tag: str = "far", body: bytes = b""
    ) -> None:
        contact = ("Contact", f"<sip:{tag}@127.0.0.9:5061;transport=tls>")
        response = response_to(request, status, to_tag=tag, headers=(contact, *rows, *_typed(body)), body=body)
        self._deliver(response, now)

    def request(
        self, method: str, number: int, now: float, *rows: tuple[str, str], to: str, from_: str, call_id: str,
        body: bytes = b"",
    ) -> None:  # fmt: skip
        self.branches += 1
        all_rows = [
            ("Via", f"SIP/2.0/TLS 127.0.0.9:5061;branch=z9hG4bKfar{self.branches}"),
            ("Max-Forwards", "70"),
            ("From", from_),
            ("To", to),
            ("Call-ID", call_id),
            ("CSeq", f"{number} {method}"),
            ("Contact", "<sip:far@127.0.0.9:5061;transport=tls>"),
            *rows,
            *_typed(body),
        ]
        self._deliver(Request(method, "sip:us@127.0.0.1", all_rows, body), now)

    def _deliver(self, message: Message, now: float) -> None:
        parser = StreamParser()
        parser.receive_data(serialize(message))
        read = parser.next_message()
        assert read is not None
        self.endpoint.receive(1, read, now)


class Callee(Far):
    """A foreign callee that may fork: our endpoint calls it."""

    def __init__(self) -> None:
        endpoint = SipEndpoint(UserAgent(CUSTOMER.host, CUSTOMER.port), random.Random(1))
        super().__init__(endpoint)
        self.negotiator = ScriptedNegotiator()
        invite = Pair(1).invite(SessionTimer(90))
        self.call = endpoint.start_call(1, invite, 0.0)
        self.call.negotiator = self.negotiator
        (self.invite,) = self.said()  # type: ignore[assignment]

    def ask(
        self, method: str, number: int, now: float, *rows: tuple[str, str], tag: str = "far", body: bytes = b""
    ) -> None:
        assert self.invite is not None
        to, from_ = self.invite.headers.get("From") or "", f"{self.invite.headers.get('To')};tag={tag}"
        self.request(method, number, now, *rows, to=to, from_=from_, call_id=self.invite.call_id, body=body)


class CallerOfUs(Far):
    """A foreign caller: our endpoint is called."""

    def __init__(self) -> None:
        super().__init__(SipEndpoint(UserAgent(TRUNK.host, TRUNK.port), random.Random(2)))
        self.negotiator = ScriptedNegotiator()
        self.call: ServerCall | None = None

    def place(self, *rows: tuple[str, str], body: bytes = b"their offer") -> ServerCall:
        self.request("INVITE", 1, 0.0, *rows, to="<sip:us@127.0.0.1>", from_=self.from_, call_id="one", body=body)
        (event,) = self.endpoint.events()
        assert isinstance(event, IncomingInvite)
        self.call = event.call
        self.call.negotiator = self.negotiator
        return self.call

    from_ = "<sip:far@127.0.0.9>;tag=far"

    def ask(self, method: str, number: int, now: float, *rows: tuple[str, str], body: bytes = b"") -> None:
        assert self.call is not None
        to = f"<sip:us@127.0.0.1>;tag={self.call.dialog.local_tag}"
        self.request(method, number, now, *rows, to=to, from_=self.from_, call_id="one", body=body)


class Pair:
    """`customer` calls `trunk`. `lose` decides which messages the wire swallows; `log` has all that was sent."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.customer = SipEndpoint(UserAgent(CUSTOMER.host, CUSTOMER.port), random.Random(seed))
        self.trunk = SipEndpoint(UserAgent(TRUNK.host, TRUNK.port), random.Random(seed + 1))
        self.ids = Identifiers(random.Random(seed + 2))
        self.lose: Callable[[Message], bool] = lambda message: False
        self.log: list[str] = []
        self.sent: list[Message] = []
        self.placed: set[ClientCall] = set()
        self.seen: dict[SipEndpoint, list[Event]] = {self.customer: [], self.trunk: []}

    def invite(self, session: SessionTimer | None = None) -> Request:
        sdp = write_sdp(customer_offer(CUSTOMER.host, 10_000, bytes(30), session_id=1))
        return outbound_invite(
            self.ids,
            dialled="+919812345678",
            exophone="+912212345678",
            domain="acme.pstn.exotel.com",
            trunk=TRUNK,
            customer=CUSTOMER,
            sdp=sdp,
            session=session,
        )

    def step(self, connection_id: int = 1) -> bool:
        """Move what both have to say once across the wire; False when both are silent."""
        moved = False
        for sender, receiver in ((self.customer, self.trunk), (self.trunk, self.customer)):
            for connection, data in sender.messages_to_send():
                moved = True
                parser = StreamParser()
                parser.receive_data(data)
                message = parser.next_message()
                assert message is not None
                assert parser.pending_bytes == 0
                self.sent.append(message)
                name = message.method if isinstance(message, Request) else str(message.status)
                lost = self.lose(message)
                self.log.append(f"{'>' if sender is self.customer else '<'}{name}{' lost' if lost else ''}")
                if not lost:
                    receiver.receive(connection, message, self.now)
            for endpoint in (sender, receiver):
                self.seen[endpoint] += endpoint.events()
        return moved

    def settle(self) -> None:
        while self.step():
            pass

    def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        self.settle()
        while True:
            due = [timer for timer in (self.customer.next_timer(), self.trunk.next_timer()) if timer is not None]
            if not due or min(due) > end:
                break
            self.now = min(due)
            for endpoint in (self.customer, self.trunk):
                endpoint.handle_timer(self.now)
                self.seen[endpoint] += endpoint.events()
            self.settle()
        self.now = end

    def place(self, session: SessionTimer | None = None) -> tuple[ClientCall, ServerCall]:
        call = self.customer.start_call(1, self.invite(session), self.now)
        self.settle()
        return call, self.incoming()

    def incoming(self) -> ServerCall:
        return next(event.call for event in reversed(self.seen[self.trunk]) if isinstance(event, IncomingInvite))

    def establish(self, session: SessionTimer | None = None) -> tuple[ClientCall, ServerCall]:
        call, incoming = self.place(session)
        incoming.ring(self.now)
        incoming.answer(self.now, b"v=0\r\n")
        self.settle()
        return call, incoming

    def names(self, endpoint: SipEndpoint) -> list[str]:
        return [type(event).__name__ for event in self.seen[endpoint]]


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def callee() -> Callee:
    return Callee()


@pytest.fixture
def caller() -> CallerOfUs:
    return CallerOfUs()


@pytest.fixture(scope="session")
def make_pair() -> Callable[[int], Pair]:
    return Pair
