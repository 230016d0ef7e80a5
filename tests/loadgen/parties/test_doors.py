from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import LOOPBACK_ONLY, Guard, Target
from trunkproof.loadgen.parties.doors import Doors, card_of_edges, with_edges_found
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.system.dns_names import Names
from trunkproof.loadgen.tls.connection import ConnectError
from trunkproof.models.edges import Dns, Edge
from trunkproof.models.errors import GuardError, InputError
from trunkproof.models.study_file import parse_study

FIRST = Edge(host="a.example", address=IPv4Address("127.0.0.61"))


def card(*edges: Edge) -> TrunkCard:
    return TrunkCard(server_name="a.example", host="127.0.0.61", port=443, ca_file="ca.pem", edges=edges)


def doors(*edges: Edge, guard: Guard = LOOPBACK_ONLY) -> Doors:
    return Doors(card(*edges), guard.check("127.0.0.61", 443, 10.0), guard, 10.0, Dns())


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every name resolves to, from now on."""
    answers = ["127.0.0.62"]
    monkeypatch.setattr(Names, "resolve", lambda names, host, port: list(answers))
    return answers


def test_a_card_without_edges_has_the_one_at_its_host() -> None:
    only = doors()
    assert (only.places, only.addresses) == ([Target("127.0.0.61", "127.0.0.61", 443)], {"127.0.0.61"})


def test_every_edge_is_asked_of_the_guard() -> None:
    with pytest.raises(GuardError, match="not on this machine"):
        doors(FIRST, Edge(host="b.example", address=IPv4Address("192.0.2.7")))


def test_a_name_is_looked_up_again_for_each_connection(found: list[str]) -> None:
    two = doors(FIRST, Edge(host="b.example", port=5061))
    _, locate = two.places
    assert not isinstance(locate, Target)
    assert two.place_of(1) == Place("127.0.0.62", 5061)

    async def moved() -> Sequence[Target]:
        found[:] = ["127.0.0.63", "127.0.0.64"]
        return await locate()

    assert asyncio.run(moved()) == [Target("b.example", f"127.0.0.{last}", 5061) for last in (63, 64)]
    assert two.place_of(1) == Place("127.0.0.63", 5061)
    # Calls that began at the old address may go on from there.
    assert two.addresses == {"127.0.0.61", "127.0.0.62", "127.0.0.63", "127.0.0.64"}


def test_no_later_answer_leads_off_this_machine(found: list[str]) -> None:
    _, locate = doors(FIRST, Edge(host="b.example")).places
    assert not isinstance(locate, Target)
    found[:] = ["127.0.0.62", "192.0.2.7"]
    with pytest.raises(ConnectError, match="not on this machine"):
        asyncio.run(locate())  # type: ignore[arg-type]


def test_rfc3263_4_1_the_edges_of_srv_records_become_those_of_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = [Edge(host="a.example", priority=10), Edge(host="b.example", port=5061, priority=20)]
    monkeypatch.setattr(Names, "edges", lambda names, domain: tuple(edges))
    traffic = "traffic: {arrivals: {kind: poisson, rate_per_minute: 60}, holding: 1}\n"
    written = parse_study("pop: {dns: {srv: example.com}}\n" + traffic)

    study = with_edges_found(written)
    assert (study.pop.doors, study.pop.dns.srv) == (tuple(edges), None)
    card = card_of_edges(study, Path("ca.pem"))
    assert (card.host, card.port, card.doors) == ("a.example", 443, study.pop.edges)

    edges += [Edge(host=f"e{number}.example") for number in range(7)]
    with pytest.raises(InputError, match="9 are more than the 8"):
        with_edges_found(written)
