"""A PBX for each customer: listening while the block runs, with the customer's phones moved behind it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import psutil
import pytest
from tests.loadgen.stacks.conftest import CUSTOMER, POP, assert_nothing_left, asterisk_is_missing, study

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stacks.pbx import running_pbxs
from trunkproof.loadgen.stacks.stack import customer_files
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Death
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.errors import StackError
from trunkproof.models.study import Study


def two_customers() -> Study:
    first = study(trunk={"customer_port": free_port(CUSTOMER)}, inbound_share=1)
    second = {"name": "second", "customer_address": "127.0.60.5"}
    trunks = [first.trunks[0].model_dump(), first.trunks[0].model_dump() | second]
    return Study.model_validate(first.model_dump() | {"trunks": trunks})


def card_of(question: Study, authority: Authority) -> TrunkCard:
    return TrunkCard(
        server_name=question.pop.host,
        host=POP["address"],
        port=5443,
        ca_file=str(authority.ca_file),
        customers=customer_files(question, authority),
    )


def takes_connections(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


@pytest.mark.skipif(asterisk_is_missing() is not None, reason=asterisk_is_missing() or "")
def test_each_customer_has_a_pbx_in_front_of_its_phones(tmp_path: Path) -> None:
    question = two_customers()
    places = [(str(trunk.customer_address), trunk.customer_port) for trunk in question.trunks]

    async def run() -> None:
        card = card_of(question, Authority(tmp_path / "certificates"))
        async with running_pbxs(question, card, tmp_path / "pbx") as behind:
            assert all(takes_connections(*place) for place in places)
            phones = [behind.customers[trunk.name].phone_port for trunk in question.trunks]
            assert None not in phones
            assert not {port for _, port in places} & set(phones)
        assert not any(takes_connections(*place) for place in places)
        assert card.customers["second"].phone_port is None

    asyncio.run(run())
    assert_nothing_left(tmp_path)


def test_without_asterisk_the_user_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise StackError("Asterisk is not on this machine")

    monkeypatch.setattr("trunkproof.loadgen.stacks.asterisk.programs.find_asterisk", none)
    question = two_customers()

    async def run() -> None:
        card = card_of(question, Authority(tmp_path / "certificates"))
        with pytest.raises(StackError, match="Asterisk is not on this machine"):
            async with running_pbxs(question, card, tmp_path / "pbx"):
                pass

    asyncio.run(run())
    assert_nothing_left(tmp_path)


@pytest.mark.skipif(asterisk_is_missing() is not None, reason=asterisk_is_missing() or "")
def test_a_pbx_that_dies_is_told(tmp_path: Path) -> None:
    question = study(trunk={"customer_port": free_port(CUSTOMER)}, inbound_share=1)
    deaths: list[Death] = []

    async def run() -> None:
        card = card_of(question, Authority(tmp_path / "certificates"))
        async with running_pbxs(question, card, tmp_path / "pbx", deaths.append):
            (pbx,) = [p for p in psutil.process_iter(["cmdline"]) if _is_pbx(p, tmp_path)]
            pbx.kill()
            async with asyncio.timeout(5):
                while not deaths:
                    await asyncio.sleep(0.01)

    asyncio.run(run())
    assert [(death.program, death.how) for death in deaths] == [("pbx0", "killed by SIGKILL")]


def _is_pbx(process: psutil.Process, folder: Path) -> bool:
    words = " ".join(process.info["cmdline"] or ())
    return str(folder) in words and words.endswith("-f")
