"""Damaged SIP messages, millions if asked: no exception of ours, no call without its end, no memory, no quadratic time.

A failure names its seed. The same seed makes the same messages again.
"""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from tests.fuzz.amount import SEED, amount
from tests.fuzz.sip_messages import BODIES, Damage, Draft, pieces

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import Call, UserAgent
from trunkproof.loadgen.sip.endpoint import SipEndpoint
from trunkproof.loadgen.sip.invite import Place, customer_offer, outbound_invite
from trunkproof.loadgen.sip.mask import mask
from trunkproof.loadgen.sip.message import MalformedMessageError, Request, Response, serialize
from trunkproof.loadgen.sip.parser import StreamParser, parse_message
from trunkproof.loadgen.sip.sdp import write_sdp
from trunkproof.loadgen.sip.server_call import IncomingInvite, ServerCall
from trunkproof.loadgen.sip.session_timer import SessionTimer

PARTS = 8
"""Parts of one run, for several processes."""
BATCH = 250
US, THEM = Place("127.0.0.1", 5061), Place("127.0.0.2", 5061)
PEERS = ("a customer", "a customer", "a stranger")
"""Who is at the other end of the connections: the number of a connection, modulo 3, says it."""
SDP = write_sdp(customer_offer(US.host, 10_000, bytes(30), session_id=1))


class World:
    """An endpoint and all that a peer and a user may do to it. The peer knows the calls that there are."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.damage = Damage(self.source, chance=0.35)
        self.now = 0.0
        self.endpoint = SipEndpoint(UserAgent(US.host, US.port), random.Random(seed + 1))
        self._numbers = count()
        self._connections = count()
        self.parsers: dict[int, StreamParser] = {}
        for _ in PEERS:
            self.connect()
        self.asked: list[tuple[int, Request]] = []
        """What we asked of the peer, and where: it may answer."""
        self.called: list[tuple[int, Draft]] = []
        """The peer's INVITEs, where they came in, and with the To tag that our answer gave them."""
        self.began: set[Call] = set()
        self.ended: dict[Call, int] = {}
        self.sent = 0

    def connect(self) -> None:
        """Open one more connection."""
        number = next(self._connections)
        self.parsers[number] = StreamParser()
        self.endpoint.know_peer(number, PEERS[number % 3])

    def batch(self, messages: int) -> None:
        """Let so many messages come in, and do other things between them."""
        until = self.sent + messages
        while self.sent < until:
            draw = self.source.random()
            if draw < 0.72:
                self._peer_sends()
            elif draw < 0.9:
                self._user_acts()
            elif draw < 0.997:
                self.wait(self.source.choice((0.1, 0.1, 0.1, 0.6, 0.6, 1.0, 5.0, 40.0)))
            else:
                self.lose(self.source.choice(list(self.parsers)))
            self._look()

    def finish(self) -> None:
        """End every call, and let all time limits pass."""
        for call in self.endpoint.calls:
            call.hang_up(self.now)
        self._look()
        self.wait(500.0)
        for call in self.endpoint.calls:  # that came after the loop above, by a retry
            call.hang_up(self.now)
        self.wait(500.0)

    def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while (due := self.endpoint.next_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.endpoint.handle_timer(self.now)
            self._look()
        self.now = end

    def lose(self, connection: int) -> None:
        """Lose a connection, and open another one of the same peer."""
        del self.parsers[connection]
        self.endpoint.connection_lost(connection, self.now)
        for _ in PEERS:
            number = next(self._connections)
            if number % 3 == connection % 3:
                self.parsers[number] = StreamParser()
                self.endpoint.know_peer(number, PEERS[number % 3])
                break

    def feed(self, connection: int, data: bytes) -> None:
        """Let bytes come in over a connection, in pieces."""
        parser = self.parsers[connection]
        for piece in pieces(data, self.source):
            parser.receive_data(piece)
            while not parser.lost:
                try:
                    message = parser.next_message()
                except MalformedMessageError as error:
                    self.endpoint.reject_malformed(connection, error)
                    continue
                if message is None:
                    break
                self.endpoint.receive(connection, message, self.now, ("127.0.0.2", 40_000))
        if parser.lost and self.source.random() < 0.2:
            self.lose(connection)
        elif parser.lost or parser.pending_bytes:
            # Half a message would swallow those after it.
            self.parsers[connection] = StreamParser()

    def _peer_sends(self) -> None:
        self.sent += 1
        connection, draft = self.draft()
        # Mostly where the call is, at times by another way or from somebody else.
        if connection not in self.parsers or self.source.random() < 0.1:
            connection = self.source.choice(list(self.parsers))
        self.feed(connection, self.damage.message(draft))

    def draft(self) -> tuple[int, Draft]:
        """Return a valid message of the peer, and over which connection it would come."""
        draw = self.source.random()
        if self.asked and draw < 0.45:
            # The newest more often than others, since those are over.
            connection, request = self.asked[-1] if draw < 0.2 else self.source.choice(self.asked)
            return connection, self._response(request)
        # Not too many at once, or the user and the peer would seldom act on the same call.
        if self.called and (draw < 0.8 or len(self.endpoint.calls) > 6):
            connection, invite = self.called[-1] if draw < 0.6 else self.source.choice(self.called)
            return connection, self._follow_up(invite)
        return self._invite()

    def _invite(self) -> tuple[int, Draft]:
        number = next(self._numbers)
        invite = Draft(
            "INVITE sip:+919812345678@127.0.0.1 SIP/2.0",
            [
                ("Via", f"SIP/2.0/TLS 127.0.0.2:5061;branch=z9hG4bK{number};rport"),
                ("From", f'"+9180" <sip:+9180@acme.example>;tag=f{number}'),
                ("To", "<sip:+919812345678@127.0.0.1>"),
                ("Call-ID", f"c{number}@acme.example"),
                ("CSeq", "1 INVITE"),
                ("Contact", "<sip:a@127.0.0.2:5061;transport=tls>"),
                ("Max-Forwards", "70"),
                ("Supported", "timer"),
                ("Session-Expires", self.source.choice(("90", "600;refresher=uas", "1800"))),
                ("Content-Type", "application/sdp"),
            ],
            SDP,
        )
        connection = self.source.choice(list(self.parsers))
        self.called = [*self.called[-5:], (connection, invite)]
        return connection, invite

    def _response(self, request: Request) -> Draft:
        statuses = (100, 180, 183, 183, 200, 200, 200, 200, 200, 404, 422, 486, 487, 491, 500, 503)
        status = self.source.choice(statuses)
        rows = [(name, value) for name, value in request.headers if name in ("Via", "From", "Call-ID", "CSeq")]
        to = request.headers.get("To") or ""
        tag = "" if "tag=" in to else f";tag={self.source.choice('aaab')}"
        rows += [("To", f"{to}{tag}"), ("Contact", "<sip:b@127.0.0.2:5061>"), ("Content-Type", "application/sdp")]
        rows += [("Session-Expires", "90;refresher=uac")] if self.source.random() < 0.3 else []
        rows += [("Record-Route", "sip:edge;lr")] if self.source.random() < 0.3 else []
        rows += [("Min-SE", "200")] if status == 422 else []
        return Draft(f"SIP/2.0 {status} Phrase", rows, self.source.choice((SDP, *BODIES)))

    def _follow_up(self, invite: Draft) -> Draft:
        """Return another request of the peer about its call: in its transaction, or in its dialog."""
        source, rows = self.source, dict(invite.rows)
        method = source.choice(("INVITE", "ACK", "ACK", "ACK", "CANCEL", "BYE", "INFO", "OPTIONS", "UPDATE", "PRACK"))
        number = 1
        if method != "CANCEL" and source.random() < 0.8:
            rows["Via"] = f"SIP/2.0/TLS 127.0.0.2:5061;branch=z9hG4bK-{next(self._numbers)}"
            number = 1 if method == "ACK" else next(self._numbers) + 2
        rows["CSeq"] = f"{number} {method}"
        return Draft(f"{method} sip:+919812345678@127.0.0.1 SIP/2.0", list(rows.items()), source.choice((SDP, b"")))

    def _user_acts(self) -> None:
        source, endpoint, now = self.source, self.endpoint, self.now
        calls = endpoint.calls
        connection = source.choice(list(self.parsers))
        if not calls or (len(calls) < 7 and source.random() < 0.2):
            timer = SessionTimer(source.choice((60, 90, 600))) if source.random() < 0.5 else None
            invite = outbound_invite(
                endpoint.ids,
                dialled="+919812345678",
                exophone="+9180",
                domain="acme.pstn.exotel.com",
                trunk=THEM,
                customer=US,
                sdp=SDP,
                session=timer,
            )
            self.began.add(endpoint.start_call(connection, invite, now))
            return
        call = source.choice(calls[-6:])
        if isinstance(call, ServerCall) and source.random() < 0.7:
            source.choice(
                (
                    lambda: call.trying(now),
                    lambda: call.ring(now),
                    lambda: call.ring(now, 183, SDP),
                    lambda: call.answer(now, SDP),
                    lambda: call.answer(now, SDP),
                    lambda: call.reject(now, 486),
                )
            )()
        elif source.random() < 0.3:
            call.use_connection(connection)
        elif source.random() < 0.2:
            endpoint.send_options(connection, "sip:127.0.0.2", now)
        elif source.random() < 0.3:
            source.choice((call.bye, call.hang_up))(now)

    def _look(self) -> None:
        """Take what the endpoint sends and tells. All that it sends is valid SIP."""
        for connection, data in self.endpoint.messages_to_send():
            message = parse_message(data)
            if isinstance(message, Request):
                self.asked = [*self.asked[-20:], (connection, message)]
            else:
                self._learn_tag(message)
        for event in self.endpoint.events():
            if isinstance(event, IncomingInvite):
                self.began.add(event.call)
            elif isinstance(event, events.FinalEvent):
                assert isinstance(event.call, Call)
                self.ended[event.call] = self.ended.get(event.call, 0) + 1

    def _learn_tag(self, response: Response) -> None:
        if not 100 < response.status < 300 or response.cseq.method != "INVITE":
            return
        for _, invite in self.called:
            if invite.value("Call-ID") == response.headers.get("Call-ID") and ";tag=" not in invite.value("To"):
                to = response.headers.get("To") or ""
                invite.rows = [(name, to if name == "To" and ";tag=" in to else value) for name, value in invite.rows]


@pytest.mark.parametrize("part", range(PARTS))
def test_any_messages_in_any_state_end_every_call_once_and_leave_nothing(part: int) -> None:
    for batch in range(amount(PARTS * BATCH)):
        seed = SEED * 1_000_003 + part * 100_003 + batch
        world = World(seed)
        try:
            world.batch(BATCH)
            world.finish()
        except Exception as error:  # the seed is what a reader needs
            raise AssertionError(f"seed {seed}, after {world.sent} messages") from error
        assert world.endpoint.calls == (), seed
        assert world.endpoint.idle, seed
        assert set(world.ended) == world.began, seed
        assert set(world.ended.values()) <= {1}, seed


def outcomes(data: bytes, cut: list[bytes]) -> list[str]:
    """Return what a parser makes of the data: messages and errors, in order."""
    parser, found = StreamParser(), []
    for piece in cut:
        parser.receive_data(piece)
        while not parser.lost:
            try:
                message = parser.next_message()
            except MalformedMessageError as error:
                found.append(f"{error} {error.status} {error.head is None}")
                continue
            if message is None:
                break
            assert parse_message(serialize(message)).start_line() == message.start_line()
            found.append(f"{message.start_line()} {list(message.headers)} {message.body!r}")
    assert len(data) >= parser.pending_bytes
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_any_stream_is_read_the_same_however_it_is_cut(part: int) -> None:
    each, streams = 4, 50
    for number in range(amount(PARTS * each * streams)):
        seed = SEED * 1_000_003 + part * 100_003 + number
        world = World(seed)
        for stream in range(streams):
            data = b"".join(Damage(world.source).message(world.draft()[1]) for _ in range(each))
            if world.source.random() < 0.3:
                data = world.damage.bytes(data)
            try:
                assert outcomes(data, [data]) == outcomes(data, pieces(data, world.source))
                if stream % 5 == 0:
                    mask(data.decode(errors="replace"))
            except Exception as error:
                raise AssertionError(f"seed {seed}, stream {stream}") from error


def test_memory_is_flat_over_any_number_of_messages() -> None:
    def after(batches: Iterator[int]) -> int:
        for batch in batches:
            world = World(SEED * 7_000_003 + batch)
            world.batch(BATCH)
            world.finish()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    batches = iter(range(10**9))
    share = amount(25 * BATCH) // 3 + 1
    tracemalloc.start()
    try:
        # The first part fills the caches, which hold a few hundred short texts each.
        before = after(next(batches) for _ in range(2 * share))
        assert after(next(batches) for _ in range(share)) < before + 400_000
    finally:
        tracemalloc.stop()


def test_memory_is_flat_in_one_endpoint_that_lives_on() -> None:
    world = World(SEED)
    sizes = []
    tracemalloc.start()
    try:
        for _ in range(amount(25 * BATCH) + 4):
            world.batch(BATCH)
            world.finish()
            assert world.endpoint.idle
            world.began.clear()
            world.ended.clear()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    half = len(sizes) // 2
    assert max(sizes[half:]) < max(sizes[:half]) + 400_000


HEAD = b"".join(
    (
        b"INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n",
        b"Call-ID: c\r\nCSeq: 1 INVITE\r\n",
    )
)
Long = Callable[[int], bytes]
"""Returns bytes of about this length, the same in kind for every length."""


def inside(before: bytes, piece: bytes, after: bytes) -> Long:
    """Return bytes with as many pieces as fit, between these."""
    return lambda length: before + piece * (length // len(piece)) + after


def value(name: str, piece: bytes) -> Long:
    """Return an INVITE with a long header: one of the necessary ones, or one more."""
    row = name.encode() + b": "
    head, found, tail = HEAD.partition(row)
    return inside(head + (found or row), piece, (tail if found else b"\r\n") + b"l: 0\r\n\r\n")


NEEDED = ("Via", "From", "To", "CSeq", "Call-ID")
MORE = ("Contact", "Record-Route", "Require", "Content-Type", "Accept", "Max-Forwards", "Session-Expires")
PUNCTUATION = (b'"', b"<", b";", b",", b"\\", b'"\\', b"a;", b";;", b"<>", b" ", b"; ", b'"a" ', b"a@", b"[", b"a,")
KINDS: dict[str, Long] = {
    "one value": inside(HEAD + b"Subject: ", b"a", b"\r\nl: 0\r\n\r\n"),
    "folds": inside(HEAD + b"Subject: a", b"\r\n a", b"\r\nl: 0\r\n\r\n"),
    "empty folds": inside(HEAD + b"Subject: a", b"\r\n ", b"\r\nl: 0\r\n\r\n"),
    "broken rows": inside(HEAD, b"\x01\r\n", b"l: 0\r\n\r\n"),
    "line ends": inside(HEAD, b"a: \n", b"\r\nl: 0\r\n\r\n"),
    "lengths": inside(HEAD, b"l: 0\r\n", b"\r\n"),
    "spaces in the start line": inside(b"INVITE", b" ", b"sip:a SIP/2.0\r\nl: 0\r\n\r\n"),
    "keep-alives": inside(b"", b"\r\n", b""),
    "body": lambda length: HEAD + b"l: %d\r\n\r\n" % length + b"b" * length,
    "messages": inside(b"", HEAD + b"l: 0\r\n\r\n", b""),
    **{f"{name} of {piece!r}": value(name, piece) for name in (*NEEDED, *MORE) for piece in PUNCTUATION},
    **{
        f"Request-URI of {piece!r}": inside(
            b"INVITE sip:", piece, HEAD.removeprefix(b"INVITE sip:a@h") + b"l: 0\r\n\r\n"
        )
        for piece in (b"a", b"@", b";", b":", b"%3", b"?", b"[", b"-1", b"a@")
    },
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in pieces"])
@pytest.mark.parametrize("kind", KINDS)
def test_time_grows_with_the_length_and_not_with_its_square(kind: str, whole: bool) -> None:
    # Sixteen times the length. The square would be 256 times the work. What costs nothing anyway is not compared.
    def work(length: int) -> float:
        data = KINDS[kind](length)
        best = 9.9e9
        for _ in range(3):
            endpoint, parser = SipEndpoint(UserAgent(US.host, US.port), random.Random(1)), StreamParser()
            began = time.process_time()
            for at in range(0, len(data), len(data) if whole else 64):
                parser.receive_data(data[at : at + (len(data) if whole else 64)])
                while not parser.lost:
                    try:
                        message = parser.next_message()
                    except MalformedMessageError as error:
                        endpoint.reject_malformed(1, error)
                        continue
                    if message is None:
                        break
                    endpoint.receive(1, message, 0.0, ("127.0.0.2", 1))
            best = min(best, time.process_time() - began)
        return best

    few, many = work(3_750), work(60_000)
    assert many < 64 * max(few, 1e-4)
