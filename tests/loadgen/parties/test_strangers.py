"""Strangers at a real trunk: refused by their address, within limits, while customers call as if nobody was there."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trunkproof.loadgen.bugs import collecting_bugs
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.media.pump import asked_for
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.call_book import ServedCall
from trunkproof.loadgen.run import drive
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.invite import Place, customer_offer, outbound_invite
from trunkproof.loadgen.sip.message import Request, Response, serialize
from trunkproof.loadgen.sip.parser import StreamParser
from trunkproof.loadgen.sip.sdes import KEY_BYTES
from trunkproof.loadgen.sip.sdp import write_sdp
from trunkproof.loadgen.stacks.embedded import trunk as embedded
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk
from trunkproof.loadgen.stacks.stack import ServeOptions
from trunkproof.loadgen.tls.certificates import client_context
from trunkproof.loadgen.tls.connection import CloseReason, Connection
from trunkproof.loadgen.tls.endpoints import Connector
from trunkproof.loadgen.tls.limiter import BARRED_S, ConnectionLimiter, Limit, known_limits, stranger_limits
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study

STRANGER, CUSTOMER = "127.0.95.9", "127.0.95.2"
WITHIN_S = 10.0


def study() -> Study:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 600}, "holding": 0.3, "ringing": 0.1}
    trunks = [{"customer_address": CUSTOMER, "throttle": {"policy": "none"}, "traffic": traffic}]
    pop = {"carrier": {"setup": 0.03}}
    return Study.model_validate({"name": "neighbour", "duration_s": 1, "pop": pop, "trunks": trunks})


def offer() -> bytes:
    return write_sdp(customer_offer(CUSTOMER, 50_000, b"k" * KEY_BYTES, session_id=1))


def invite(dialled: str = "+919876543210", sdp: bytes = b"v=0\r\n", **changes: str) -> Request:
    made = outbound_invite(
        Identifiers(random.Random()),
        dialled=dialled,
        exophone="+918012345678",
        domain="example.pstn.exotel.com",
        trunk=Place("127.0.0.1", 5061),
        customer=Place(STRANGER, 5061),
        sdp=sdp,
    )
    for name, value in changes.items():
        made.headers.replace(name, value) if name in made.headers else made.headers.add(name, value)
    return made


class Peer:
    """One end of a TLS connection to the trunk, from any source address."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._parser = StreamParser()
        self.raw = bytearray()
        self._came = asyncio.Event()
        connection.deliver_to(self._receive)

    @classmethod
    async def open(cls, card: TrunkCard, source: str = STRANGER) -> Peer:
        connector = Connector(client_context(Path(card.ca_file)), card.server_name, source)
        return cls(await connector.connect(card.host, card.port))

    def _receive(self, data: bytes) -> None:
        self.raw += data
        self._parser.receive_data(data)
        self._came.set()

    async def response(self) -> Response:
        async with asyncio.timeout(WITHIN_S):
            while (message := self._parser.next_message()) is None:
                self._came.clear()
                await self._came.wait()
        assert isinstance(message, Response)
        return message

    async def end(self) -> CloseReason:
        async with asyncio.timeout(WITHIN_S):
            return (await self.connection.wait_closed()).reason


Test = Callable[[EmbeddedTrunk, TrunkCard], Awaitable[None]]


def with_trunk(
    test: Test,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    calls: list[ServedCall] | None = None,
    transactions: int | None = None,
    **limits: float | None,
) -> None:
    """Run a test on an embedded trunk whose strangers have these limits, and its customers these transactions."""
    asked_for()
    strangers = replace(stranger_limits(), **limits)
    known = replace(known_limits(), message_s=0.3, transactions=transactions)

    def limiter(is_known: Callable[[str], bool]) -> ConnectionLimiter:
        return ConnectionLimiter(is_known, known=known, strangers=strangers)

    monkeypatch.setattr(embedded, "ConnectionLimiter", limiter)

    async def run() -> None:
        trunk = EmbeddedTrunk(draw_plan(study()), folder, ServeOptions(on_call=None if calls is None else calls.append))
        card = await trunk.start()
        try:
            await test(trunk, card)
        finally:
            await trunk.close()

    with collecting_bugs() as bugs:
        asyncio.run(run())
    assert bugs.found == ()


def test_rfc3261_8_2_7_a_stranger_gets_403_with_a_cause_and_the_trunk_remembers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[ServedCall] = []

    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card)
        request = invite()
        for _ in range(2):
            peer.connection.write(serialize(request))
        first, second = await peer.response(), await peer.response()
        assert first.status == 403
        assert first.headers.get("Reason") == "Q.850;cause=57"
        assert f"received={STRANGER}" not in first.headers.rows("Via")[0]  # its sent-by is true
        # The same request gets the same tag, although no transaction is there to remember it.
        assert first.to.tag == second.to.tag != ""
        assert (first.call_id, first.cseq.number) == (request.call_id, request.cseq.number)
        peer.connection.write(serialize(Request("ACK", request.uri, request.headers)))
        peer.connection.write(serialize(Request("OPTIONS", request.uri, request.headers)))
        assert (await peer.response()).status == 403
        assert trunk.agent.idle
        assert trunk.answerer.under_way == 0
        peer.connection.close()

    with_trunk(test, tmp_path, monkeypatch, calls=calls)
    assert [call.record.disposition for call in calls] == [Disposition.NOT_WHITELISTED] * 2
    assert calls[0].record.row == -1
    assert calls[0].record.reason == "+91********78 called +91********10, ended by the trunk"


def test_a_stranger_beyond_its_rate_is_cut_off_and_barred_before_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card)
        peer.connection.write(b"".join(serialize(invite()) for _ in range(500)))
        assert await peer.end() is CloseReason.RESET
        # One of the ten was the handshake.
        assert peer.raw.count(b"SIP/2.0 403") <= 9
        assert trunk.limiter.counts[False, Limit.REQUESTS] == 1
        with pytest.raises(Exception, match="reset"):
            await Peer.open(card)
        assert trunk.limiter.counts[False, Limit.BARRED] == 1
        assert trunk.limiter.admit(STRANGER, trunk.now() + BARRED_S + 1) is None
        trunk.limiter.handshaken(STRANGER)
        trunk.limiter.left(STRANGER, trunk.now())

    with_trunk(test, tmp_path, monkeypatch, requests_per_s=10, all_requests_per_s=None)


@pytest.mark.parametrize(
    ("sent", "limit", "limits"),
    [
        (b"INVITE sip:+919876543210@trunk SIP/2.0\r\nVia: SIP/2.0", Limit.MESSAGE_TIME, {"message_s": 0.1}),
        (b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 100\r\n\r\nv=0", Limit.MESSAGE_TIME, {"message_s": 0.1}),
        (b"", Limit.IDLE_TIME, {"idle_s": 0.1}),
        (b"INVITE sip:a@b SIP/2.0\r\nX: " + b"x" * 20_000, Limit.MESSAGE_SIZE, {}),
    ],
    ids=["half a header", "half a body", "silence", "a long header"],
)
def test_a_stranger_who_takes_too_long_or_too_much_is_cut_off_and_counted(
    sent: bytes, limit: Limit, limits: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card)
        if sent:
            peer.connection.write(sent)
        assert await peer.end() is CloseReason.RESET
        assert trunk.limiter.counts == {(False, limit): 1}
        assert trunk.edge.connections == frozenset()

    with_trunk(test, tmp_path, monkeypatch, **limits)


def test_a_byte_now_and_then_does_not_hold_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card)
        for byte in serialize(invite()):
            peer.connection.write(bytes([byte]))
            if peer.connection.closed is not None:
                break
            await asyncio.sleep(0.02)
        assert trunk.limiter.counts == {(False, Limit.MESSAGE_TIME): 1}

    with_trunk(test, tmp_path, monkeypatch, message_s=0.2)


def test_garbage_of_a_stranger_is_answered_with_a_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        for garbage in (
            b"\x00\xff" * 500 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            serialize(invite(CSeq="no number")),
        ):
            peer = await Peer.open(card)
            peer.connection.write(garbage)
            assert await peer.end() is CloseReason.RESET
        assert trunk.agent.idle

    with_trunk(test, tmp_path, monkeypatch)


def test_connections_beyond_those_of_a_stranger_are_refused_before_tls_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peers = [await Peer.open(card) for _ in range(3)]
        with pytest.raises(Exception, match="reset"):
            await Peer.open(card)
        assert trunk.limiter.counts == {(False, Limit.CONNECTIONS): 1}
        peers[0].connection.close()
        await peers[0].connection.wait_closed()
        while len(trunk.edge.connections) > 2:
            await asyncio.sleep(0.01)
        peers.append(await Peer.open(card))
        for peer in peers:
            peer.connection.close()

    with_trunk(test, tmp_path, monkeypatch, connections=3)


def test_a_customer_has_limits_too_for_half_messages_and_unfinished_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card, CUSTOMER)
        # Numbers that no plan dials are refused with 404, which waits for an ACK that never comes.
        for _ in range(4):
            peer.connection.write(serialize(invite()))
        answers = [await peer.response() for _ in range(3 + 4)]
        assert sorted(answer.status for answer in answers) == [100, 100, 100, 404, 404, 404, 503]
        (full,) = (answer for answer in answers if answer.status == 503)
        assert full.headers.get("Retry-After") == "32"
        assert trunk.limiter.counts == {(True, Limit.TRANSACTIONS): 1}
        peer.connection.write(b"INVITE sip:a@b SIP/2.0\r\n")
        assert await peer.end() is CloseReason.RESET
        assert trunk.limiter.counts[True, Limit.MESSAGE_TIME] == 1
        assert trunk.agent.idle

    with_trunk(test, tmp_path, monkeypatch, transactions=3)


def test_customers_call_as_planned_while_strangers_attack_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        async def attack(number: int) -> None:
            """Open, send INVITEs or half of one, and come back as often as the trunk ends it."""
            while True:
                try:
                    peer = await Peer.open(card, f"127.0.95.{20 + number % 5}")
                    invites = [serialize(invite()) for _ in range(50 if number % 2 else 0)]
                    peer.connection.write(b"".join(invites) + b"INV")
                    await peer.connection.wait_closed()
                except Exception:
                    await asyncio.sleep(0.05)

        attackers = [asyncio.create_task(attack(number)) for number in range(20)]
        driven = await drive(draw_plan(study()), card, RunOptions())
        for attacker in attackers:
            attacker.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)
        assert set(driven.records["disposition"]) == {"completed"}
        assert driven.records.height == 10
        reached = {limit for known, limit in trunk.limiter.counts}
        assert {Limit.ALL_REQUESTS, Limit.REQUESTS, Limit.CONNECTIONS} & reached
        assert not any(known for known, _ in trunk.limiter.counts)
        async with asyncio.timeout(WITHIN_S):
            while trunk.edge.connections or not trunk.agent.idle:
                await asyncio.sleep(0.05)
        assert (trunk.gate.limits.carrier.used, trunk.gate.limits.pool.in_use) == (0, 0)

    with_trunk(test, tmp_path, monkeypatch, connections=2, requests_per_s=40, all_requests_per_s=100, message_s=0.5)


def test_rfc5626_4_4_1_thousands_of_keep_alives_of_a_customer_are_answered_with_as_many_pongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card, CUSTOMER)
        for _ in range(10):
            peer.connection.write(b"\r\n\r\n" * 500)
            await asyncio.sleep(0)
        async with asyncio.timeout(WITHIN_S):
            while len(peer.raw) < 2 * 5000:
                await asyncio.sleep(0.01)
        assert bytes(peer.raw) == b"\r\n" * 5000
        peer.connection.close()

    with_trunk(test, tmp_path, monkeypatch)


def test_keep_alives_of_a_stranger_count_as_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card)
        peer.connection.write(b"\r\n\r\n" * 500)
        assert await peer.end() is CloseReason.RESET
        assert trunk.limiter.counts[False, Limit.REQUESTS] == 1

    with_trunk(test, tmp_path, monkeypatch, requests_per_s=10, all_requests_per_s=None)


@pytest.mark.parametrize(
    "sent",
    [b"\x00\xff" * 500 + b"\r\n\r\n", b"INVITE sip:a@b SIP/2.0\r\nX: " + b"x" * 70_000, b"BYE\r\n\r\n"],
    ids=["garbage", "a header of 70 kB", "half a start line"],
)
def test_a_customer_who_sends_no_sip_loses_its_connection_alone(
    sent: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        odd, good = await Peer.open(card, CUSTOMER), await Peer.open(card, CUSTOMER)
        odd.connection.write(sent)
        assert await odd.end() in {CloseReason.PEER, CloseReason.RESET}
        assert trunk.agent.malformed == 1
        good.connection.write(serialize(invite()))
        assert [(await good.response()).status, (await good.response()).status] == [100, 404]
        good.connection.close()

    with_trunk(test, tmp_path, monkeypatch)


def test_a_customer_who_closes_in_mid_message_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card, CUSTOMER)
        peer.connection.write(serialize(invite()) + b"BYE sip:a@b SIP/2.0\r\nVia: SIP")
        await peer.response()
        peer.connection.close()
        await peer.end()
        async with asyncio.timeout(WITHIN_S):
            while trunk.edge.connections or not trunk.agent.idle or trunk.answerer.under_way:
                await asyncio.sleep(0.01)
        # The deadline of the half message went with its connection.
        await asyncio.sleep(0.4)
        assert trunk.limiter.counts == {}

    with_trunk(test, tmp_path, monkeypatch)


def test_a_bug_that_one_message_meets_costs_that_message_and_not_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        trunk = EmbeddedTrunk(draw_plan(study()), tmp_path)
        card = await trunk.start()
        receive = trunk.agent._endpoint.receive

        def planted(number: int, message: Request | Response, *rest: Any) -> None:
            if message.headers.get("Subject") == "a bug":
                raise KeyError("AES_256_CM_HMAC_SHA1_80")
            receive(number, message, *rest)

        monkeypatch.setattr(trunk.agent._endpoint, "receive", planted)
        peer = await Peer.open(card, CUSTOMER)
        peer.connection.write(serialize(invite(Subject="a bug")) + serialize(invite()))
        assert [(await peer.response()).status, (await peer.response()).status] == [100, 404]
        peer.connection.close()
        await trunk.close()

    with collecting_bugs() as bugs:
        asyncio.run(run())
    assert [bug.error for bug in bugs.found] == ["KeyError: 'AES_256_CM_HMAC_SHA1_80'"]


def test_a_bug_that_an_incoming_call_meets_is_answered_with_500_and_releases_what_the_call_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        trunk = EmbeddedTrunk(draw_plan(study()), tmp_path)
        card = await trunk.start()

        def planted(*_: object) -> None:
            raise KeyError("no such suite")

        monkeypatch.setattr(trunk.audio, "open_on", planted)
        peer = await Peer.open(card, CUSTOMER)
        peer.connection.write(serialize(invite(dialled="+910000000000", sdp=offer())))
        statuses = [(await peer.response()).status for _ in range(3)]
        assert statuses == [100, 180, 500]
        assert (trunk.gate.limits.carrier.used, trunk.gate.limits.pool.in_use) == (0, 0)
        peer.connection.close()
        await trunk.close()

    with collecting_bugs() as bugs:
        asyncio.run(run())
    assert [(bug.where, bug.error) for bug in bugs.found] == [("an incoming call", "KeyError: 'no such suite'")]


def test_rfc3966_a_caller_in_a_tel_uri_names_no_account_and_gets_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(trunk: EmbeddedTrunk, card: TrunkCard) -> None:
        peer = await Peer.open(card, CUSTOMER)
        request = invite(dialled="+910000000000", sdp=offer(), From="<tel:+918012345678>;tag=1")
        peer.connection.write(serialize(request))
        assert [(await peer.response()).status for _ in range(3)] == [100, 180, 200]
        peer.connection.close()
        await peer.end()

    with_trunk(test, tmp_path, monkeypatch)


def test_a_call_that_finds_no_descriptor_gives_back_every_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        trunk = EmbeddedTrunk(draw_plan(study()), tmp_path)
        card = await trunk.start()

        def exhausted(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr("trunkproof.loadgen.parties.audio.bind_pair", exhausted)
        free = trunk.gate.limits.pool.free(0.0)
        peer = await Peer.open(card, CUSTOMER)
        peer.connection.write(serialize(invite(dialled="+910000000000", sdp=offer())))
        assert [(await peer.response()).status for _ in range(3)] == [100, 180, 503]
        # So late that no port is in quarantine any more.
        assert (trunk.gate.limits.pool.in_use, trunk.gate.limits.pool.free(1e9)) == (0, free)
        peer.connection.close()
        await trunk.close()

    asyncio.run(run())
