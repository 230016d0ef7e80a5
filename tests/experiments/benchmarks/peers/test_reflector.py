"""The far side of all media: every datagram comes back to who sent it, and to nobody else."""

from __future__ import annotations

import socket

from trunkproof.experiments.benchmarks.peers.reflector import ADDRESS, reflecting


def _ask(sender: socket.socket, port: int, what: bytes) -> bytes:
    sender.sendto(what, (ADDRESS, port))
    data, source = sender.recvfrom(4096)
    assert source == (ADDRESS, port)
    return data


def test_everything_comes_back_from_both_ports_of_each_pair() -> None:
    with (
        reflecting() as ports,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for number, sender in enumerate((one, other)):
            sender.settimeout(10)
            sender.bind((f"127.0.0.{2 + number}", 0))
        assert all(port % 2 == 0 for port in ports)
        for port in ports:
            for place in (port, port + 1):
                # Lengths differ, so that one that was kept from before would show.
                assert _ask(one, place, b"a" * 172) == b"a" * 172
                assert _ask(other, place, b"b" * 1200) == b"b" * 1200
                assert _ask(one, place, b"c") == b"c"


def test_a_burst_comes_back_whole_and_in_order() -> None:
    with reflecting() as ports, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(10)
        sender.bind(("127.0.0.2", 0))
        for number in range(150):
            sender.sendto(number.to_bytes(2, "big") * 90, (ADDRESS, ports[0]))
        assert [int.from_bytes(sender.recv(4096)[:2], "big") for _ in range(150)] == list(range(150))
