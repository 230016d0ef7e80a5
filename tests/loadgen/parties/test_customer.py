"""A customer: what its INVITE says, where it listens, and what of the run's options reaches its connections."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from tests.loadgen.scripted import ScriptedAudio, record_of

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import LOOPBACK_ONLY, Target
from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.options import DEFAULTS, RunOptions
from trunkproof.loadgen.parties.agent import CallEvents, IncomingCall, SipAgent
from trunkproof.loadgen.parties.customer import Customer, check_numbers, credentials_of
from trunkproof.loadgen.parties.numbers import exophone
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.loadgen.schedule.share import WHOLE, Share, share_of
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.digest import Credentials
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.fields import NameAddr, Uri
from trunkproof.loadgen.sip.sdp import write_sdp
from trunkproof.loadgen.stacks.stack import customer_files
from trunkproof.loadgen.tls.certificates import Authority, client_context, server_context
from trunkproof.loadgen.tls.endpoints import Connector, serve_tls
from trunkproof.models.edges import Edge
from trunkproof.models.errors import GuardError, InputError, StackError
from trunkproof.models.plan import Plan, dialled_number, draw_plan
from trunkproof.models.study import Study

ADDRESS, PORT = "127.0.0.57", 5471


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _plain_pump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "plain")


REDIRECTED = "+919876543210"
LISTED, CALLERS = "+918040005551", ("+918040001234", "+918040001235")


def plan(address: str = ADDRESS, changes: dict[str, Any] | None = None, **traffic: Any) -> Plan:
    settings = {"arrivals": {"kind": "replay", "instants_s": [0.0]}, "holding": 1} | traffic
    trunk = {"customer_address": address, "customer_port": PORT, "account": "bank", "traffic": settings}
    trunk |= changes or {}
    return draw_plan(Study.model_validate({"name": "t", "duration_s": 5, "trunks": [trunk]}))


def customer(
    made: Plan,
    authority: Authority,
    options: RunOptions = DEFAULTS,
    share: Share = WHOLE,
    edges: tuple[Edge, ...] = (),
) -> Customer:
    host = str(edges[0].address) if edges else "127.0.0.1"
    card = TrunkCard(
        server_name=made.study.pop.host,
        edges=edges,
        host=host,
        port=5443,
        ca_file=str(authority.ca_file),
        customers=customer_files(made.study, authority),
    )
    target = LOOPBACK_ONLY.check(host, 5443, 0.0)
    return Customer(made, 0, card, target, options, share=share)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(ADDRESS, port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_listens_at_its_contact_and_no_longer_than_its_block(share: float, authority: Authority) -> None:
    async def run() -> None:
        async with customer(plan(inbound_share=share), authority) as one:
            assert one.agent.user_agent.port == PORT
            assert await _listens(PORT)
        assert not await _listens(PORT)

    asyncio.run(run())


async def _asks(one: Customer, authority: Authority, *requests: str) -> list[str]:
    """Return the status lines that the customer answers to requests over a new connection to its Contact."""
    place = one.agent.user_agent
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(place.host.strip("[]"), place.port, ssl=context)
    lines = []
    for request in requests:
        writer.write(request.encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        lines.append(head.decode().partition("\r\n")[0])
    writer.close()
    return lines


def request(method: str, number: int = 1) -> str:
    return (
        f"{method} sip:+918000000000@{ADDRESS}:{PORT} SIP/2.0\r\n"
        f"Via: SIP/2.0/TLS 127.0.0.1:443;branch=z9hG4bK{method}{number}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:trunk@127.0.0.1>;tag=1\r\nTo: <sip:+918000000000@{ADDRESS}>\r\n"
        f"Call-ID: {method}@127.0.0.1\r\nCSeq: {number} {method}\r\n"
        "Contact: <sip:trunk@127.0.0.1:443;transport=tls>\r\nContent-Length: 0\r\n\r\n"
    )


def test_rfc3261_11_2_an_options_to_its_contact_is_answered(authority: Authority) -> None:
    async def run() -> list[str]:
        async with customer(plan(), authority) as one:
            return await _asks(one, authority, request("OPTIONS"))

    assert asyncio.run(run()) == ["SIP/2.0 200 OK"]


def test_without_planned_inbound_calls_nobody_can_make_it_ring(authority: Authority) -> None:
    async def run() -> list[str]:
        async with customer(plan(), authority) as one:
            return await _asks(one, authority, request("INVITE"))

    (line,) = asyncio.run(run())
    assert line.startswith("SIP/2.0 480")


def test_a_port_that_is_taken_is_told_and_the_contact_names_another(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> tuple[int, list[str]]:
        other = await asyncio.start_server(lambda reader, writer: None, ADDRESS, PORT)
        async with other, customer(plan(), authority) as one:
            return one.agent.user_agent.port, await _asks(one, authority, request("OPTIONS"))

    port, lines = asyncio.run(run())
    assert port != PORT
    assert lines == ["SIP/2.0 200 OK"]
    assert f"cannot listen on {ADDRESS}:{PORT}: the port is in use; it listens on port {port} instead" in caplog.text


def test_a_port_that_planned_inbound_calls_need_must_be_had(authority: Authority) -> None:
    async def run() -> None:
        other = await asyncio.start_server(lambda reader, writer: None, ADDRESS, PORT)
        async with other, customer(plan(inbound_share=1.0), authority):
            pass

    with pytest.raises(StackError, match="the port is in use"):
        asyncio.run(run())


def test_a_card_without_certificates_is_listened_with_one_of_the_run(authority: Authority) -> None:
    async def run() -> list[str]:
        made = plan()
        card = TrunkCard(server_name="a.example", host="127.0.0.1", port=5443, ca_file=str(authority.ca_file))
        async with Customer(made, 0, card, LOOPBACK_ONLY.check("127.0.0.1", 5443, 0.0), DEFAULTS) as one:
            return await _asks(one, authority, request("OPTIONS"))

    assert asyncio.run(run()) == ["SIP/2.0 200 OK"]


def test_a_worker_that_does_not_own_the_port_listens_on_one_of_its_own(authority: Authority) -> None:
    async def run() -> list[int]:
        made = plan()
        shares = [share_of(made.study, index, 2) for index in range(2)]
        async with customer(made, authority, share=shares[0]) as one, customer(made, authority, share=shares[1]) as two:
            return [each.agent.user_agent.port for each in (one, two)]

    first, second = asyncio.run(run())
    assert first == PORT != second


def test_an_address_that_this_machine_does_not_have_is_told_by_the_customers_name(authority: Authority) -> None:
    async def run() -> None:
        async with customer(plan("192.0.2.9"), authority):
            pass

    with pytest.raises(StackError, match=r"the customer of .* cannot listen on 192\.0\.2\.9: this machine has no such"):
        asyncio.run(run())


def test_its_invite_dials_the_row_and_names_the_account(authority: Authority) -> None:
    async def run() -> None:
        made = plan()
        (row,) = made.first_attempts()
        async with customer(made, authority) as one:
            audio: Any = ScriptedAudio()
            invite = one.invite(row, write_sdp(one.offer(row, audio)))
            assert dialled_number(row.row) in invite.uri
            sender = invite.from_.uri
            assert exophone(0) in sender
            assert sender.partition("@")[2].startswith("bank.")
            assert b"a=crypto" in invite.body
            with pytest.raises(RuntimeError, match="plan zero"):
                _ = one.caller
            one.begin(3.0)
            assert one.caller.zero == 3.0

    asyncio.run(run())


def test_abroad_its_invite_dials_a_listed_number_as_a_listed_caller(authority: Authority) -> None:
    there = {
        "from_domain": "sip.example",
        "request_host": "edge.example",
        "external_address": "203.0.113.7",
        "headers": {"X-Route": "test"},
    }
    calls: dict[str, Any] = {
        "arrivals": {"kind": "replay", "instants_s": [0.0, 1.0, 2.0]},
        "callers": CALLERS,
        "destinations": [{"number": LISTED, "far_end": "echo"}],
    }

    async def run() -> None:
        made = plan(changes=there, **calls)
        async with customer(made, authority) as one:
            invites = []
            for row in made.first_attempts():
                with contextlib.closing(one.open_audio(row)) as audio:
                    invites.append(one.invite(row, write_sdp(one.offer(row, audio))))
        assert {invite.uri for invite in invites} == {f"sip:{LISTED}@edge.example"}
        # In turn.
        assert [invite.from_.uri for invite in invites] == [
            f"sip:{number}@sip.example" for number in (*CALLERS, CALLERS[0])
        ]
        for invite in invites:
            assert invite.headers.get("X-Route") == "test"
            assert b"c=IN IP4 203.0.113.7" in invite.body
            assert "@203.0.113.7:" in (invite.headers.get("Contact") or "")
            assert ADDRESS not in str(invite.headers)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("traffic", "missing"),
    [
        ({}, ["traffic.destinations", "traffic.callers"]),
        ({"callers": CALLERS}, ["traffic.destinations"]),
        ({"destinations": [{"number": LISTED, "far_end": "echo"}]}, ["traffic.callers"]),
        ({"callers": CALLERS, "destinations": [{"far_end": "plan"}]}, []),
        ({"inbound_share": 1}, []),
    ],
)
def test_elsewhere_than_at_home_only_listed_numbers_are_called(traffic: dict[str, Any], missing: list[str]) -> None:
    trunk = plan(**traffic).study.trunks[0]
    check_numbers(trunk, Target("localhost", "127.0.0.1", 5061))
    raises = pytest.raises(GuardError) if missing else contextlib.nullcontext()
    with raises as caught:
        check_numbers(trunk, Target("trunk.example", "203.0.113.7", 5061))
    named = [
        key for key in ("traffic.destinations", "traffic.callers") if caught is not None and key in str(caught.value)
    ]
    assert named == missing


def test_the_runs_options_reach_its_connections(authority: Authority, tmp_path: Path) -> None:
    sent: list[str] = []

    async def run() -> None:
        keylog = tmp_path / "keys.log"
        options = RunOptions(keylog=keylog, trace=lambda way, data: sent.append(way))
        async with customer(plan(), authority, options) as one:
            assert one.pool._connector._context.keylog_filename == str(keylog)
            assert one.agent._trace is options.trace

    asyncio.run(run())


def test_rfc5923_a_request_in_a_dialog_reaches_its_call_over_a_new_connection_to_the_contact(
    authority: Authority,
) -> None:
    """The trunk's edge restarts while a call is up, connects to the Contact, and says BYE there."""

    async def run() -> tuple[str, EndCause]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[IncomingCall] = loop.create_future()
        trunk = SipAgent(UserAgent("127.0.0.1", 5443), random.Random(1), on_invite=arrived.set_result)
        edge = await serve_tls("127.0.0.1", 0, server_context(authority.issue("a.example")), trunk.attach)
        made = plan()
        card = TrunkCard(
            server_name="a.example", host="127.0.0.1", port=edge.address[1], ca_file=str(authority.ca_file)
        )
        target = LOOPBACK_ONLY.check(card.host, card.port, 0.0)
        async with Customer(made, 0, card, target, DEFAULTS) as one:
            inbox, row = CallEvents(), made.first_attempts()[0]
            lease = await one.pool.acquire(0)
            one.agent.place(lease.connection, one.invite(row, b""), inbox)
            incoming = await asyncio.wait_for(arrived, 5)
            trunk.act(lambda now: incoming.call.answer(now, b""))
            while not isinstance(await inbox.next(loop.time() + 5), events.Answered):
                pass
            # The ACK too: a BYE has to wait for it (RFC 3261 section 15).
            while not isinstance(await incoming.events.next(loop.time() + 5), events.Acknowledged):
                pass
            edge.drop_all()
            while not isinstance(await inbox.next(loop.time() + 5), events.Detached):
                pass
            contact = Uri.parse(NameAddr.parse(incoming.call.invite.headers.get("Contact") or "").uri)
            assert contact.port is not None
            # As a trunk that knows no certificate of its customers.
            back = Connector(client_context(None, verify=False), None, "127.0.0.1")
            trunk.move(incoming.call, await back.connect(contact.host, contact.port))
            trunk.act(incoming.call.bye)
            while not isinstance(event := await inbox.next(loop.time() + 5), events.Terminated):
                pass
            await edge.close()
            return f"{contact.host}:{contact.port}", event.cause

    assert asyncio.run(run()) == (f"{ADDRESS}:{PORT}", EndCause.REMOTE_BYE)


@pytest.mark.parametrize(
    ("destinations", "followed"),
    [
        ([], True),
        ([{"numbers": [LISTED, REDIRECTED], "far_end": "answers"}], True),
        # A redirect must not make us ring at somebody's who is on no list.
        ([{"number": LISTED, "far_end": "answers"}], False),
    ],
)
def test_rfc3261_21_3_a_study_may_follow_redirects(
    destinations: list[dict[str, Any]], followed: bool, authority: Authority
) -> None:
    """Two edges: the first sends every call to the second, which refuses it with a status of its own."""

    async def run() -> tuple[list[str], int | None, str | None]:
        called: list[str] = []

        def busy(incoming: IncomingCall) -> None:
            called.append(incoming.call.invite.uri)
            second.act(lambda now: incoming.call.reject(now, 486))

        def moved(incoming: IncomingCall) -> None:
            contact = ("Contact", f"<sip:{REDIRECTED}@127.0.0.1:{there.address[1]};transport=tls>")
            first.act(lambda now: incoming.call.reject(now, 302, None, (contact,)))

        second = SipAgent(UserAgent("127.0.0.1", 1), random.Random(1), on_invite=busy)
        first = SipAgent(UserAgent("127.0.0.1", 2), random.Random(2), on_invite=moved)
        context = server_context(authority.issue("a.example", "127.0.0.1"))
        there = await serve_tls("127.0.0.1", 0, context, second.attach)
        here = await serve_tls("127.0.0.1", 0, context, first.attach)
        base = plan(destinations=destinations).study
        made = draw_plan(Study.model_validate(base.model_dump() | {"trunks": [base.trunks[0].model_dump() | follows]}))
        card = TrunkCard(
            stack="foreign",
            server_name="a.example",
            host="127.0.0.1",
            port=here.address[1],
            ca_file=str(authority.ca_file),
        )
        async with Customer(made, 0, card, LOOPBACK_ONLY.check(card.host, card.port, 0.0), DEFAULTS) as one:
            one.begin(asyncio.get_running_loop().time())
            row = made.first_attempts()[0]
            record = record_of(row)
            await PlannedCall(one.caller, row, record).carry()
        await here.close()
        await there.close()
        return called, record.status, record.disposition

    follows = {"follow_redirects": True}
    called, status, disposition = asyncio.run(run())
    assert [uri.partition("@")[0] for uri in called] == [f"sip:{REDIRECTED}"] * followed
    assert (status, disposition) == ((486, "busy") if followed else (302, "redirected"))


def test_a_password_comes_from_the_environment_only(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = plan(changes={"credentials": {"username": "u", "password_env": "TEST_PASSWORD"}}).study.trunks[0]
    monkeypatch.delenv("TEST_PASSWORD", raising=False)
    with pytest.raises(InputError, match=r"TEST_PASSWORD: is not set: it should have the password of trunk"):
        credentials_of(trunk)
    monkeypatch.setenv("TEST_PASSWORD", "secret")
    assert credentials_of(trunk) == Credentials("u", "secret")
    assert credentials_of(plan().study.trunks[0]) is None


async def _says(source: str, one: Customer) -> str:
    """Return the status line of an OPTIONS from a source address, or why there is none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection(ADDRESS, PORT, ssl=context, local_addr=(source, 0))
        writer.write(request("OPTIONS").encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    except (OSError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    writer.close()
    return head.decode().partition("\r\n")[0]


def test_only_the_edges_of_the_trunk_and_trusted_addresses_may_come_in(authority: Authority) -> None:
    edges = tuple(Edge(host="e.example", address=ip_address(f"127.0.0.{last}")) for last in (61, 62))
    made = plan(changes={"trusted": ["127.0.9.0/24"]})

    async def run() -> list[str]:
        async with customer(made, authority, edges=edges) as one:
            # A peer is the trunk, so any edge continues what another began.
            assert one._peer_at("127.0.0.61") == one._peer_at("127.0.0.62") != one._peer_at("127.0.9.9")
            return [await _says(f"127.0.{last}", one) for last in ("0.61", "0.62", "9.9", "0.99")]

    *admitted, refused = asyncio.run(run())
    assert admitted == ["SIP/2.0 200 OK"] * 3
    assert refused in {"ConnectionResetError", "IncompleteReadError"}
