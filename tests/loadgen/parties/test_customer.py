"""A customer: what its INVITE says, where it listens, and what of the run's options reaches its connections."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.loadgen.scripted import ScriptedAudio

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import LOOPBACK_ONLY
from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.options import DEFAULTS, RunOptions
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.parties.numbers import exophone
from trunkproof.loadgen.schedule.share import WHOLE, Share, share_of
from trunkproof.loadgen.sip.sdp import write_sdp
from trunkproof.loadgen.stacks.stack import customer_files
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.errors import StackError
from trunkproof.models.plan import Plan, dialled_number, draw_plan
from trunkproof.models.study import Study

ADDRESS, PORT = "127.0.0.57", 5471


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _plain_pump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "plain")


def plan(address: str = ADDRESS, **traffic: Any) -> Plan:
    settings = {"arrivals": {"kind": "replay", "instants_s": [0.0]}, "holding": 1} | traffic
    trunk = {"customer_address": address, "customer_port": PORT, "account": "bank", "traffic": settings}
    return draw_plan(Study.model_validate({"name": "t", "duration_s": 5, "trunks": [trunk]}))


def customer(made: Plan, authority: Authority, options: RunOptions = DEFAULTS, share: Share = WHOLE) -> Customer:
    card = TrunkCard(
        server_name=made.study.pop.host,
        host="127.0.0.1",
        port=5443,
        ca_file=str(authority.ca_file),
        customers=customer_files(made.study, authority),
    )
    target = LOOPBACK_ONLY.check("127.0.0.1", 5443, 0.0)
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


def test_the_runs_options_reach_its_connections(authority: Authority, tmp_path: Path) -> None:
    sent: list[str] = []

    async def run() -> None:
        keylog = tmp_path / "keys.log"
        options = RunOptions(keylog=keylog, trace=lambda way, data: sent.append(way))
        async with customer(plan(), authority, options) as one:
            assert one.pool._connector._context.keylog_filename == str(keylog)
            assert one.agent._trace is options.trace

    asyncio.run(run())
