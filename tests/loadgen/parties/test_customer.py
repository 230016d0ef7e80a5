"""A customer: what its INVITE says, where it listens, and what of the run's options reaches its connections."""

from __future__ import annotations

import asyncio
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


def customer(made: Plan, authority: Authority, options: RunOptions = DEFAULTS) -> Customer:
    card = TrunkCard(
        server_name=made.study.pop.host,
        host="127.0.0.1",
        port=5443,
        ca_file=str(authority.ca_file),
        customers=customer_files(made.study, authority),
    )
    return Customer(made, 0, card, LOOPBACK_ONLY.check("127.0.0.1", 5443, 0.0), options)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(ADDRESS, port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_it_listens_where_the_study_has_calls_for_it_and_no_longer_than_its_block(
    share: float, authority: Authority
) -> None:
    async def run() -> None:
        async with customer(plan(inbound_share=share), authority):
            assert await _listens(PORT) is (share > 0)
        assert not await _listens(PORT)

    asyncio.run(run())


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
