"""Names against a real name server on loopback, which counts what it is asked."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from trunkproof.loadgen.system.dns_names import Names
from trunkproof.models.edges import Dns
from trunkproof.models.errors import StackError

ZONE = {
    ("a.example.", "A"): [60, "127.0.0.61"],
    ("short.example.", "A"): [1, "127.0.0.62"],
    ("both.example.", "AAAA"): [60, "::1"],
    ("both.example.", "A"): [60, "127.0.0.63", "127.0.0.64"],
    ("_sips._tcp.example.", "SRV"): [60, "20 1 5061 b.example.", "10 1 443 a.example.", "10 5 443 c.example."],
    ("_sips._tcp.none.example.", "SRV"): [60, "0 0 0 ."],
}


class NameServer:
    """Answers questions over UDP from `ZONE`."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.settings = Dns(server=IPv4Address("127.0.0.1"), port=self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(4096)
            if not data:
                return
            question = dns.message.from_wire(data)
            (asked,) = question.question
            key = (asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype))
            self.asked[key] += 1
            response = dns.message.make_response(question)
            response.flags |= dns.flags.RA
            if key in ZONE:
                ttl, *values = ZONE[key]
                response.answer.append(dns.rrset.from_text(asked.name, int(ttl), "IN", key[1], *map(str, values)))
            elif not any(name == key[0] for name, _ in ZONE):
                response.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(response.to_wire(), peer)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def server() -> Iterator[NameServer]:
    started = NameServer()
    yield started
    started.close()


def test_rfc1035_3_2_1_an_answer_is_kept_as_long_as_its_ttl_says(server: NameServer) -> None:
    names = Names(server.settings)
    for _ in range(3):
        assert names.resolve("a.example", 443) == ["127.0.0.61"]
    assert server.asked["a.example.", "A"] == 1

    assert names.resolve("short.example", 443) == ["127.0.0.62"]
    time.sleep(1.1)
    assert names.resolve("short.example", 443) == ["127.0.0.62"]
    assert server.asked["short.example.", "A"] == 2


def test_all_addresses_of_a_host_are_told_those_of_ipv4_first(server: NameServer) -> None:
    found = Names(server.settings).resolve("both.example", 443)
    assert (set(found[:2]), found[2:]) == ({"127.0.0.63", "127.0.0.64"}, ["::1"])


def test_rfc2782_srv_records_are_edges_by_priority_and_weight(server: NameServer) -> None:
    edges = Names(server.settings).edges("example")
    ranks = [(edge.host, edge.port, edge.priority, edge.weight) for edge in edges]
    assert ranks == [("c.example", 443, 10, 5), ("a.example", 443, 10, 1), ("b.example", 5061, 20, 1)]


@pytest.mark.parametrize(("domain", "told"), [("none.example", "no such service"), ("absent", "no SRV records")])
def test_a_domain_without_such_a_service_is_told(server: NameServer, domain: str, told: str) -> None:
    with pytest.raises(StackError, match=told):
        Names(server.settings).edges(domain)


def test_what_dns_does_not_know_this_machine_may(server: NameServer) -> None:
    names = Names(server.settings)
    assert "127.0.0.1" in names.resolve("localhost", 443)
    assert names.resolve("127.0.0.9", 443) == ["127.0.0.9"]
    with pytest.raises(StackError, match="does not resolve"):
        names.resolve("nobody.invalid", 443)
